"""Named tensors in torch: what a step, a forward and an export are given.

Where a model takes one tensor, a batch is that tensor and the model is called with it; else it is a dictionary, and the
model is called with what its `forward` asks for, by name.

Shape legend: B rows of a batch, T the longest of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mlratchet.models.tensors.named import Inputs, Ragged
from mlratchet.models.tensors.sharded import ShardedInputs
from mlratchet.models.tensors.spec import LENGTHS, TensorSpec, names_taken, takes_one
from torch import nn

Batch = torch.Tensor | dict[str, torch.Tensor]
Model = Callable[[Any], torch.Tensor]  # of a batch; in a child, or here


def batch_of(inputs: Inputs, *, least: int = 1) -> Batch:
    """The rows as a model takes them. Memory is shared where it can be; `least`: of the length of a padded one."""
    if inputs.is_one:
        return torch.from_numpy(np.ascontiguousarray(inputs.array))
    return {name: torch.from_numpy(np.ascontiguousarray(one)) for name, one in inputs.batch(least=least).items()}


def each(batch: Batch, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
    """Every tensor changed alike."""
    return change(batch) if isinstance(batch, torch.Tensor) else {name: change(one) for name, one in batch.items()}


def aligned(batch: Batch) -> Batch:
    """Copied as torch aligns memory: numpy aligns to 16 bytes, torch to 64, and matrix products differ in the last bit
    with the alignment."""
    return each(batch, torch.Tensor.clone)


def count_of(batch: Batch) -> int:
    """Rows."""
    return len(batch) if isinstance(batch, torch.Tensor) else len(next(iter(batch.values())))


def first_rows(batch: Batch, count: int) -> Batch:
    """At most `count` of them, as far padded as they are."""
    return each(batch, lambda one: one[:count])


def cut_batch(batch: Batch, where: int | list[int]) -> Sequence[Batch]:
    """In so many pieces, or at these rows, as `torch.tensor_split`."""
    if isinstance(batch, torch.Tensor):
        return list(batch.tensor_split(where))
    pieces = {name: one.tensor_split(where) for name, one in batch.items()}
    count = len(next(iter(pieces.values())))
    return [{name: parts[at] for name, parts in pieces.items()} for at in range(count)]


def widened(batch: Batch, ragged: Sequence[str], by: int) -> Batch:
    """Ragged tensors padded with `by` more zeros: a longer row could have been among these."""
    if isinstance(batch, torch.Tensor):
        return batch
    return batch | {
        name: torch.cat([batch[name], batch[name].new_zeros((len(batch[name]), by, *batch[name].shape[2:]))], dim=1)
        for name in ragged
    }


class TensorRows:
    """All rows of a side in torch, to draw batches from. Loader workers share their memory."""

    def __init__(self, inputs: Inputs) -> None:
        self._dense: dict[str, torch.Tensor] = {}
        self._ragged: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}  # values, offsets
        self._sharded = inputs if isinstance(inputs, ShardedInputs) else None  # mapped: every process opens it itself
        self._one: torch.Tensor | None = None
        if self._sharded is not None:
            return
        self._one = torch.from_numpy(inputs.array) if inputs.is_one else None
        for name, column in inputs.columns.items() if self._one is None else ():
            if isinstance(column, Ragged):
                values, offsets = (np.ascontiguousarray(part) for part in (column.values, column.offsets))
                self._ragged[name] = torch.from_numpy(values), torch.from_numpy(offsets)
            else:
                self._dense[name] = torch.from_numpy(np.ascontiguousarray(column))

    def share(self) -> None:
        """Move the rows to shared memory: loader workers then copy nothing."""
        held = [self._one] if self._one is not None else []
        for one in (*held, *self._dense.values(), *(part for both in self._ragged.values() for part in both)):
            one.share_memory_()  # type: ignore[no-untyped-call]  # torch leaves it untyped

    def take(self, places: torch.Tensor) -> Batch:
        """These rows; a ragged column padded to the longest of them."""
        if self._sharded is not None:
            return aligned(batch_of(self._sharded.take(places.numpy())))
        if self._one is not None:
            return self._one[places]
        found = {name: one[places] for name, one in self._dense.items()}
        for name, (values, offsets) in self._ragged.items():
            starts = offsets[places]
            lengths = offsets[places + 1] - starts
            steps = torch.arange(max(1, int(lengths.max()))) if len(lengths) else torch.arange(1)
            inside = steps < lengths[:, None]
            padded = torch.zeros((len(places), len(steps), *values.shape[1:]), dtype=values.dtype)
            padded[inside] = values[(starts[:, None] + steps)[inside]]
            found[name], found[f"{name}{LENGTHS}"] = padded, lengths
        return found

    @property
    def is_ragged(self) -> bool:
        """Whether rows have lengths of their own."""
        return bool(self._sharded.ragged if self._sharded is not None else self._ragged)

    def lengths(self, places: np.ndarray[Any, Any] | None = None) -> np.ndarray[Any, Any]:
        """(N,) of all ragged columns together, of which there is one at least; `places`: of these rows."""
        if self._sharded is not None:
            return self._sharded.lengths(places)
        every = [(offsets[1:] - offsets[:-1]).numpy() for _, offsets in self._ragged.values()]
        found: np.ndarray[Any, Any] = np.sum(every, axis=0)
        return found if places is None else found[places]


class ByName:
    """A model that takes its tensors by name, asked with a batch: it gets those that its `forward` names."""

    def __init__(self, module: Callable[..., torch.Tensor], names: Sequence[str]) -> None:
        self.module, self.names = module, tuple(names)

    def __call__(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return self.module(**{name: batch[name] for name in self.names})


def asked_by_name(
    module: Callable[..., torch.Tensor], specs: Sequence[TensorSpec], forward: Callable[..., Any] | None = None
) -> Model:
    """How a batch of these tensors is asked of a module: itself, where it takes one. `forward`: whose parameters say
    what it takes, where that is another's (a wrapped module's). Raises ``TypeError`` as `forward_names`."""
    if takes_one(specs):
        return module
    named = forward if forward is not None else module.forward if isinstance(module, nn.Module) else module
    return ByName(module, forward_names(named, specs))


def export_program(module: nn.Module, batch: Batch, specs: Sequence[TensorSpec]) -> torch.export.ExportedProgram:
    """The program of a module in eval mode, for any number of rows and, of ragged tensors, any length, as far as its
    `forward` lets it. `batch`: two or more rows, and as many steps; a size of one would be frozen."""
    free = torch.export.Dim.AUTO
    if isinstance(batch, torch.Tensor):
        return torch.export.export(module, (batch,), dynamic_shapes=({0: free},))
    ragged = {spec.name for spec in specs if spec.ragged}
    taken = {name: batch[name] for name in forward_names(module.forward, specs)}
    shapes = {name: {0: free, 1: free} if name in ragged else {0: free} for name in taken}
    if any(one.kind is one.VAR_KEYWORD for one in inspect.signature(module.forward).parameters.values()):
        module = _Spelled(module, tuple(taken))
    return torch.export.export(module.eval(), (), kwargs=taken, dynamic_shapes=shapes)


class _Spelled(nn.Module):
    """A module that takes tensors by whatever name, as one whose `forward` says which: torch.export asks for that."""

    def __init__(self, module: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.module = module

        def forward(**tensors: torch.Tensor) -> torch.Tensor:
            output: torch.Tensor = module(**tensors)
            return output

        parameters = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names]
        forward.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # as inspect reads it
        self.forward = forward


def program_model(program: torch.export.ExportedProgram) -> Model:
    """How a batch is asked of a program: by the names that it was exported with, where it has any."""
    module, names = program.module(), program.call_spec.in_spec.child(1).context
    return ByName(module, names) if names else module


def forward_names(forward: Callable[..., Any], specs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """The names that a `forward` takes, of those that it can be given.

    Raises ``TypeError`` where it asks for what there is not, or leaves a tensor out.
    """
    parameters = inspect.signature(forward).parameters.values()
    known = names_taken(specs)
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return known
    plain = [one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    strange = [one.name for one in plain if one.name not in known and one.default is one.empty]
    taken = tuple(one.name for one in plain if one.name in known)
    unused = [spec.name for spec in specs if spec.name not in taken]
    if strange or unused:
        problem = f"forward takes {strange[0]!r}" if strange else f"forward does not take {unused[0]!r}"
        raise TypeError(f"{problem}; the workload's tensors() are given by name: {', '.join(known)}")
    return taken
