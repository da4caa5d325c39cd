"""Checkpoints: parts named by their SHA-256, then the marker by conditional create. No marker, no checkpoint.

Nothing is unpickled: tensors are safetensors, counters are JSON.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import torch
from mlratchet.models.errors import RatchetError
from mlratchet.models.fault_points import fault_point
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.ports.storage import ObjectExists, ObjectStore
from safetensors.torch import load, save
from torch import nn

MARKER = re.compile(r"/e(?P<epoch>\d+)/checkpoints/(?P<step>\d+)/marker\.json$")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Everything a resume needs, at the end of a training epoch."""

    step: int  # global steps done
    epochs_done: int
    history: list[dict[str, Any]]
    model: dict[str, torch.Tensor]
    optimizer: dict[str, torch.Tensor]


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The optimizer's state as named tensors, ``<parameter index>.<name>``."""
    flat = {}
    for index, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            if value is not None:
                flat[f"{index}.{name}"] = torch.as_tensor(value).detach().cpu().contiguous()
    return flat


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """The reverse of `optimizer_tensors`."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    current = optimizer.state_dict()
    optimizer.load_state_dict({"state": state, "param_groups": current["param_groups"]})


def model_tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    """The module's state on the CPU, contiguous."""
    return {name: value.detach().cpu().contiguous().clone() for name, value in module.state_dict().items()}


def _folder(work_key: str, epoch: int, step: int) -> str:
    return f"work/{work_key}/e{epoch:06d}/checkpoints/{step:09d}"


def write_checkpoint(store: ObjectStore, work_key: str, epoch: int, checkpoint: Checkpoint) -> None:
    """Parts first, marker last. Writing a step again changes nothing."""
    folder = _folder(work_key, epoch, checkpoint.step)
    parts = {}
    for name, tensors in (("model", checkpoint.model), ("optimizer", checkpoint.optimizer)):
        data = save(tensors)
        parts[name] = digest_bytes(data)
        store.create(f"{folder}/{parts[name]}.safetensors", data)
        fault_point(f"checkpoint.after_{name}")
    marker = {
        "step": checkpoint.step,
        "epochs_done": checkpoint.epochs_done,
        "history": checkpoint.history,
        "parts": parts,
    }
    try:
        store.create(f"{folder}/marker.json", canonical_json(marker))
    except ObjectExists:
        return  # a rank restarted by its agent did the same step again; seconds in the history differ
    fault_point("checkpoint.after_marker")


def newest_checkpoint(store: ObjectStore, work_key: str, *, up_to_epoch: int) -> Checkpoint | None:
    """The checkpoint with the most steps that verifies, of this or any earlier attempt; None to begin fresh."""
    found = []
    for info in store.list(f"work/{work_key}/"):
        match = MARKER.search(info.key)
        if match is not None and int(match["epoch"]) <= up_to_epoch:
            found.append((int(match["step"]), int(match["epoch"]), info.key))
    for _, _, key in sorted(found, reverse=True):
        try:
            return _read(store, key)
        except (RatchetError, ValueError, KeyError):
            continue  # torn or changed: an older one is tried
    return None


def _read(store: ObjectStore, key: str) -> Checkpoint:
    marker = json.loads(store.get(key))
    folder = key.removesuffix("/marker.json")
    parts = {
        name: load(store.get(f"{folder}/{sha256}.safetensors", sha256=sha256))
        for name, sha256 in marker["parts"].items()
    }
    return Checkpoint(
        step=int(marker["step"]),
        epochs_done=int(marker["epochs_done"]),
        history=marker["history"],
        model=parts["model"],
        optimizer=parts["optimizer"],
    )
