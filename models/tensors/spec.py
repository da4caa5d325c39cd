"""What a model takes, by name: the tensors of one example, each with shape and type."""

from __future__ import annotations

import keyword
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ONE = "x"  # the name of a workload's only tensor, where it names none
LENGTHS = "_lengths"  # ends the name under which a model finds the lengths of a ragged tensor


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """One tensor of an example."""

    name: str
    shape: tuple[int, ...]  # without the rows, and without the length of a ragged one; () is one number
    dtype: str  # float32, int64 or uint8
    ragged: bool = False  # whether rows have lengths of their own; the model gets them padded with zeros
    value_range: tuple[float, float] | None = None  # a request with a value outside is refused

    @property
    def lengths(self) -> str:
        """The name of a ragged tensor's lengths."""
        return f"{self.name}{LENGTHS}"

    @property
    def row_bytes(self) -> int:
        """Of one row; of a ragged one, per step of its length."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def __str__(self) -> str:
        kind = "ragged " if self.ragged else ""
        return f"{self.name} ({kind}{self.dtype} {list(self.shape)})"


def takes_one(specs: Sequence[TensorSpec]) -> bool:
    """Whether a model takes one tensor, `forward(self, x)`; else `forward` gets each by its name."""
    return len(specs) == 1 and not specs[0].ragged


def names_taken(specs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """Every name under which `forward` may ask for something."""
    return tuple(name for spec in specs for name in ((spec.name, spec.lengths) if spec.ragged else (spec.name,)))


def check_specs(specs: Sequence[TensorSpec]) -> None:
    """Raises ``ValueError`` for tensors that no `forward` could take."""
    if not specs:
        raise ValueError("tensors(): a model takes at least one tensor, got none")
    for spec in specs:
        if not spec.name.isidentifier() or keyword.iskeyword(spec.name) or spec.name in ("self", "args", "kwargs"):
            raise ValueError(f"tensors(): {spec.name!r} cannot be a parameter of forward; write a Python identifier")
        if spec.dtype not in ("float32", "int64", "uint8"):
            raise ValueError(f"tensors(): {spec.name} is {spec.dtype}, expected float32, int64 or uint8")
        if any(size < 1 for size in spec.shape):
            raise ValueError(f"tensors(): {spec.name} has shape {list(spec.shape)}, expected sizes of at least 1")
    names = names_taken(specs)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"tensors(): {twice!r} is there twice; name each tensor once")
