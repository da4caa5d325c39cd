"""Checkpoints: parts named by their SHA-256, then the marker by conditional create. No marker, no checkpoint.

Nothing is unpickled: tensors are safetensors, counters are JSON. The epoch (fencing token) is part of every key, so
that a stale process cannot overwrite what a newer owner wrote.
"""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from mlratchet.models.errors import RatchetError, SecurityError
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.signed_records import body_of
from mlratchet.models.ports.storage import ObjectExists, ObjectNotFound, ObjectStore, StorageError
from safetensors import SafetensorError
from safetensors.torch import load
from torch import nn

MARKER = re.compile(r"/e(?P<epoch>\d+)/checkpoints/(?P<step>\d+)/marker\.json$")
READERS = 4  # threads

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where training stands; JSON. The sample position is the step: the order is a pure function of it."""

    step: int  # global steps done
    epochs_done: int
    history: list[dict[str, Any]]
    sums: list[float]  # of the epoch under way: loss x rows, correct, rows, gradient norms, steps
    scaler: dict[str, Any] = field(default_factory=dict)  # of fp16
    stopping: dict[str, Any] = field(default_factory=dict)  # of early stopping
    skipped: int = 0  # steps left out in a row
    hardware: str = ""  # of the ranks that wrote it
    began_fresh: str = ""  # why nothing was taken from a parent that was given
    optimizer: Any = None  # what it keeps beside tensors: `optimizer_state.py`


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Everything a resume needs. Groups of tensors: model, optimizer, and where they are used ema and best."""

    position: Position
    groups: dict[str, Tensors]


def model_tensors(module: nn.Module) -> Tensors:
    """A copy of the module's state on the CPU, contiguous."""
    return {name: value.detach().cpu().contiguous().clone() for name, value in module.state_dict().items()}


def checkpoint_folder(work_key: str, epoch: int, step: int) -> str:
    """Where the checkpoint of an attempt at a step is."""
    return f"work/{work_key}/e{epoch:06d}/checkpoints/{step:09d}"


def list_checkpoints(store: ObjectStore, work_key: str, *, up_to_epoch: int) -> list[tuple[int, int, str]]:
    """(step, epoch, marker key), the most steps first."""
    found = []
    for info in store.list(f"work/{work_key}/"):
        match = MARKER.search(info.key)
        if match is not None and int(match["epoch"]) <= up_to_epoch:
            found.append((int(match["step"]), int(match["epoch"]), info.key))
    return sorted(found, reverse=True)


def newest_checkpoint(store: ObjectStore, work_key: str, *, up_to_epoch: int) -> Checkpoint | None:
    """The checkpoint with the most steps that verifies, of this or any earlier attempt; None to begin fresh.

    Raises ``StorageError`` when the store does not answer: beginning fresh would throw work away.
    """
    for _, _, key in list_checkpoints(store, work_key, up_to_epoch=up_to_epoch):
        try:
            return read_checkpoint(store, key)
        except (SecurityError, ValueError, KeyError, TypeError, SafetensorError):
            continue  # torn or changed: an older one is tried
        except StorageError:
            if store.exists(key):
                folder = key.removesuffix("/marker.json")
                parts = {info.key for info in store.list(f"{folder}/")}
                if all(part in parts for part in _part_keys(store, key)):
                    raise
        except RatchetError:
            continue
    return None


def _part_keys(store: ObjectStore, key: str) -> list[str]:
    folder = key.removesuffix("/marker.json")
    return [f"{folder}/{part['sha256']}.safetensors" for part in json.loads(body_of(store.get(key)))["parts"]]


def read_checkpoint(store: ObjectStore, key: str) -> Checkpoint:
    """Of a marker; every part verified. Raises when anything differs."""
    marker = json.loads(body_of(store.get(key)))
    folder = key.removesuffix("/marker.json")

    def read(part: dict[str, str]) -> Tensors:
        data = store.get(f"{folder}/{part['sha256']}.safetensors", sha256=part["sha256"])
        return dict(load(data))

    groups: dict[str, Tensors] = {"model": {}, "optimizer": {}}
    with ThreadPoolExecutor(READERS) as pool:
        for part, tensors in zip(marker["parts"], pool.map(read, marker["parts"]), strict=True):
            groups.setdefault(part["group"], {}).update(tensors)
    return Checkpoint(position=Position(**marker["position"]), groups=groups)


def publish_marker(
    store: ObjectStore, work_key: str, epoch: int, step: int, marker: dict[str, Any], *, keep: int
) -> None:
    """Write the marker of a checkpoint whose parts are there, then delete what is older than the newest `keep` that
    verify, markers first. Of two at one step the first stands: a rank that was restarted did the same again."""
    with suppress(ObjectExists):
        store.create(f"{checkpoint_folder(work_key, epoch, step)}/marker.json", canonical_json(marker))
    kept = 0
    for _, _, key in list_checkpoints(store, work_key, up_to_epoch=epoch):
        if kept < keep:
            kept += store.exists(key)  # one that somebody planted takes no place of ours
            continue
        with suppress(ObjectNotFound):
            store.delete(key)
            for info in list(store.list(f"{key.removesuffix('/marker.json')}/")):
                store.delete(info.key)


def drop_checkpoints(store: ObjectStore, work_key: str) -> None:
    """Delete every checkpoint of a work key that nobody will resume, markers first. Idempotent."""
    found = [info.key for info in store.list(f"work/{work_key}/") if "/checkpoints/" in info.key]
    for key in sorted(found, key=lambda key: (not key.endswith("marker.json"), key)):
        store.delete(key)
