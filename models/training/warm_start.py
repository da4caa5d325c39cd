"""Update of a model: the parameters of an older version, also into a changed structure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType

import torch
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.training.job import TrainingError
from mlratchet.models.workloads.base import PREPARED, CarriedOver
from safetensors.torch import load
from torch import nn

Carry = Callable[[Mapping[str, torch.Tensor]], CarriedOver | None]
"""The tensors of a parent as this model takes them; None: as they are."""


@dataclass(frozen=True, kw_only=True)
class WarmStartReport:
    """What became of each tensor of the new model."""

    taken: tuple[str, ...]  # same name, same shape
    reshaped: tuple[str, ...]  # same name; what both have is taken, by name or on another scale, the rest is new
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


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis of some tensors, by name: classes of heads (rows), or columns of the first layer of a table."""

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    dim: int  # of the tensor
    tensors: frozenset[str]  # of the new model


def match_tensors(
    state: dict[str, torch.Tensor], parent: dict[str, torch.Tensor], axes: Sequence[Axis] = ()
) -> tuple[dict[str, torch.Tensor], WarmStartReport]:
    """The state to load. Tensors of an axis take what has a name in common, name by name; what is new keeps its fresh
    values. Any other tensor that differs from the parent's in its first dimension alone keeps the parent's rows, as far
    as both have them."""
    merged = dict(state)
    taken: list[str] = []
    reshaped: list[str] = []
    new: list[str] = []
    for name, value in state.items():
        old = parent.get(name)
        named = [axis for axis in axes if name in axis.tensors]
        if old is None or old.is_floating_point() != value.is_floating_point() or old.ndim != value.ndim:
            new.append(name)
        elif named:
            joined = by_name(value, old, named)
            if joined is None:
                new.append(name)
                continue
            merged[name] = joined
            (taken if all(set(axis.ours) == set(axis.theirs) for axis in named) else reshaped).append(name)
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


def by_name(value: torch.Tensor, old: torch.Tensor, axes: Sequence[Axis]) -> torch.Tensor | None:
    """`value` with what `old` holds of the names that both have; None when they differ in another dimension too."""
    expected = list(value.shape)
    for axis in axes:
        expected[axis.dim] = len(axis.theirs)
    if list(old.shape) != expected:
        return None
    fresh, source = value.detach().cpu().clone(), old.to(value.dtype)
    places = [torch.arange(size) for size in fresh.shape], [torch.arange(size) for size in fresh.shape]
    for axis in axes:
        common = [name for name in axis.ours if name in axis.theirs]
        places[0][axis.dim] = torch.tensor([axis.ours.index(name) for name in common], dtype=torch.long)
        places[1][axis.dim] = torch.tensor([axis.theirs.index(name) for name in common], dtype=torch.long)
    here, there = (torch.meshgrid(*one, indexing="ij") for one in places)
    fresh[here] = source[there]
    return fresh


def without(report: WarmStartReport, names: set[str]) -> WarmStartReport:
    """What it says of the other tensors."""
    kept = {field: tuple(n for n in found if n not in names) for field, found in asdict(report).items()}
    return WarmStartReport(**kept)


def moved_over(report: WarmStartReport, changed: set[str]) -> WarmStartReport:
    """Tensors that were carried over to another fitted preparation are none that were taken as they are."""
    moved = tuple(name for name in report.taken if name in changed)
    kept = tuple(name for name in report.taken if name not in changed)
    return replace(report, taken=kept, reshaped=(*report.reshaped, *moved))


def warm_start(
    module: nn.Module,
    store: ObjectStore,
    key: str,
    sha256: str | None,
    axes: Sequence[Axis] = (),
    *,
    neutral: Mapping[str, torch.Tensor] = MappingProxyType({}),
    carry: Carry | None = None,
) -> WarmStartReport:
    """Load what fits, the parent's preparation with it: its weights were learnt on what that made of the rows.

    `neutral` is the preparation of a parent that has none, `carry` brings it to ours where that was fitted to
    other rows. Raises
    ``TrainingError`` when nothing fits, and for a parent whose preparation this model has not: nobody would see such a
    mistake.
    """
    state, brought = module.state_dict(), load(store.get(key, sha256=sha256))
    parent = dict(neutral) | brought
    if any(name.startswith(PREPARED) and name not in state for name in parent):
        raise TrainingError(
            f"warm start: {key} was trained on standardised columns and this model takes them as they are; "
            "leave workload.parameters.standardise as it was, or write train.warm_start: none"
        )
    carried = carry(parent) if carry is not None else None
    merged, report = match_tensors(state, carried.tensors if carried is not None else parent, axes)
    report = moved_over(report, carried.changed) if carried is not None else report
    report = without(report, set(neutral) - set(brought))
    if all(name.startswith(PREPARED) for name in (*report.taken, *report.reshaped)):
        own = [name for name in state if not name.startswith(PREPARED)]
        raise TrainingError(
            f"warm start: none of the {len(brought)} tensors of {key} fits this model (got {next(iter(brought), '-')} "
            f"first, expected {next(iter(own), '-')}); set train.warm_start: none, or bring fitting weights"
        )
    module.load_state_dict(merged)
    return report
