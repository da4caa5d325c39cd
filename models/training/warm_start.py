"""Update of a model: the parameters of an older version, also into a changed structure."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.training.job import TrainingError
from safetensors.torch import load
from torch import nn


@dataclass(frozen=True, kw_only=True)
class WarmStartReport:
    """What became of each tensor of the new model."""

    taken: tuple[str, ...]  # same name, same shape
    reshaped: tuple[str, ...]  # same name; the rows that both have are taken, the others are new
    new: tuple[str, ...]  # not in the parent, or of another kind
    left: tuple[str, ...]  # of the parent, without a place here

    def line(self) -> str:
        """In words."""
        parts = [f"{len(self.taken)} tensors taken"]
        for name in ("reshaped", "new", "left"):
            tensors = getattr(self, name)
            if tensors:
                parts.append(f"{name}: {', '.join(tensors[:6])}{' ...' if len(tensors) > 6 else ''}")
        return "; ".join(parts)


def match_tensors(
    state: dict[str, torch.Tensor], parent: dict[str, torch.Tensor]
) -> tuple[dict[str, torch.Tensor], WarmStartReport]:
    """The state to load. A tensor that differs from the parent's in its first dimension alone keeps the parent's
    rows (a head with more classes keeps the old ones; with fewer it keeps the first ones)."""
    merged, taken, reshaped, new = dict(state), [], [], []
    for name, value in state.items():
        old = parent.get(name)
        if old is None or old.is_floating_point() != value.is_floating_point() or old.ndim != value.ndim:
            new.append(name)
        elif old.shape == value.shape:
            merged[name] = old
            taken.append(name)
        elif value.ndim >= 1 and old.shape[1:] == value.shape[1:]:
            rows = min(len(old), len(value))
            merged[name] = torch.cat([old[:rows].to(value.dtype), value.detach().cpu()[rows:]])
            reshaped.append(name)
        else:
            new.append(name)
    report = WarmStartReport(
        taken=tuple(taken), reshaped=tuple(reshaped), new=tuple(new), left=tuple(sorted(set(parent) - set(state)))
    )
    return merged, report


def warm_start(module: nn.Module, store: ObjectStore, key: str, sha256: str | None) -> WarmStartReport:
    """Load what fits. Raises ``TrainingError`` when nothing does: nobody would see such a mistake."""
    state, parent = module.state_dict(), load(store.get(key, sha256=sha256))
    merged, report = match_tensors(state, parent)
    if not report.taken and not report.reshaped:
        raise TrainingError(
            f"warm start: none of the {len(parent)} tensors of {key} fits this model (got {next(iter(parent), '-')} "
            f"first, expected {next(iter(state), '-')}); set train.warm_start: none, or bring fitting weights"
        )
    module.load_state_dict(merged)
    return report
