"""Rows of named tensors: what a preparation gives, a shard holds, a model is trained on and a server is asked with.

Shape legend: N rows, L values of all rows of a ragged column together, T the longest row of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mlratchet.models.tensors.spec import LENGTHS, ONE, TensorSpec

Array = np.ndarray[Any, Any]
STORED, VALUES, OFFSETS = "inputs.", ".values", ".offsets"  # of the names of arrays that inputs are stored in


@dataclass(frozen=True, eq=False)
class Ragged:
    """Rows of different lengths, one after the other."""

    values: Array  # (L, *shape)
    offsets: Array  # (N + 1,) int64: row i is values[offsets[i] : offsets[i + 1]]

    def __post_init__(self) -> None:
        offsets = self.offsets
        wrong = offsets.ndim != 1 or not len(offsets) or offsets.dtype != np.int64 or offsets[0] != 0
        if wrong or offsets[-1] != len(self.values) or bool((np.diff(offsets) < 0).any()):
            raise ValueError(f"ragged: offsets do not cut {len(self.values)} values into rows")

    @classmethod
    def of(cls, rows: Sequence[Array], spec: TensorSpec) -> Ragged:
        """From rows (length, *shape) of a ragged tensor."""
        lengths = [len(row) for row in rows]
        values = np.concatenate(rows) if sum(lengths) else np.zeros((0, *spec.shape))
        return cls(np.ascontiguousarray(values, dtype=spec.dtype), _ends(np.asarray(lengths, dtype=np.int64)))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> Array:
        return np.asarray(self.values[self.offsets[row] : self.offsets[row + 1]])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values."""
        found: np.dtype[Any] = self.values.dtype
        return found

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one value."""
        return tuple(self.values.shape[1:])

    @property
    def lengths(self) -> Array:
        """(N,) int64."""
        return np.diff(self.offsets)

    def take(self, indices: Any) -> Ragged:
        """These rows, in this order."""
        lengths = self.lengths[indices]
        ends = _ends(lengths)
        within = np.arange(ends[-1]) - np.repeat(ends[:-1], lengths)
        return Ragged(self.values[np.repeat(self.offsets[:-1][indices], lengths) + within], ends)

    def rows(self, part: slice) -> Ragged:
        """A stretch of rows; its values are not copied."""
        at, end, _ = part.indices(len(self))
        offsets = self.offsets[at : max(at, end) + 1]
        return Ragged(self.values[offsets[0] : offsets[-1]], offsets - offsets[0])

    def padded(self, *, least: int = 1) -> Array:
        """(N, T, *shape), zeros after the end of a row; T is the longest row, and not below `least`."""
        lengths = self.lengths
        longest = max(least, int(lengths.max(initial=0)))
        found = np.zeros((len(self), longest, *self.shape), dtype=self.dtype)
        found[np.arange(longest) < lengths[:, None]] = self.values
        return found


Column = Array | Ragged
Row = Array | Mapping[str, Array]  # one row: of a workload with one tensor its array, else every tensor by name


def _ends(lengths: Array) -> Array:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


class Inputs:
    """N rows of named columns. Nobody changes them."""

    __slots__ = ("columns",)

    def __init__(self, columns: Mapping[str, Column]) -> None:
        """Raises ``ValueError`` for columns that do not have as many rows as each other."""
        self.columns: Mapping[str, Column] = dict(columns)
        counts = [len(one) for one in self.columns.values()]
        if not counts or counts.count(counts[0]) != len(counts):
            found = {name: len(one) for name, one in self.columns.items()}
            raise ValueError(f"inputs: expected columns of as many rows each, got {found}")

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __repr__(self) -> str:
        return f"Inputs({len(self)} rows of {', '.join(self.columns)})"

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns."""
        return tuple(self.columns)

    @property
    def is_one(self) -> bool:
        """Whether there is one column, and it is not ragged: a model then takes `forward(self, x)`."""
        return len(self.columns) == 1 and not self.ragged

    @property
    def array(self) -> Array:
        """(N, *shape), where there is one column. Raises ``ValueError`` where there are several, or it is ragged."""
        first = next(iter(self.columns.values()))
        if len(self.columns) != 1 or isinstance(first, Ragged):
            raise ValueError(
                f"expected one input of one shape, got {', '.join(self.columns)}: ask for each by its name"
            )
        return first

    @property
    def ragged(self) -> tuple[str, ...]:
        """Names of the columns whose rows have lengths of their own."""
        return tuple(name for name, one in self.columns.items() if isinstance(one, Ragged))

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """What one of these rows is made of."""
        return tuple(
            TensorSpec(
                name=name,
                shape=one.shape if isinstance(one, Ragged) else tuple(one.shape[1:]),
                dtype=str(one.dtype),
                ragged=isinstance(one, Ragged),
            )
            for name, one in self.columns.items()
        )

    @property
    def nbytes(self) -> int:
        """Of all rows, as they are held."""
        return sum(part.nbytes for part in self.arrays().values())

    @property
    def padded_row_bytes(self) -> int:
        """Of one row of a batch of these rows."""
        total = 0
        for one in self.columns.values():
            if isinstance(one, Ragged):
                total += int(one.lengths.max(initial=1)) * one.dtype.itemsize * math.prod(one.shape)
            else:
                total += one.nbytes // max(1, len(one))
        return total

    def take(self, indices: Any) -> Inputs:
        """These rows, in this order: an array of places, or of booleans."""
        chosen = np.asarray(indices)
        places = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.int64, copy=False)
        return Inputs(
            {n: one.take(places) if isinstance(one, Ragged) else one[places] for n, one in self.columns.items()}
        )

    def rows(self, part: slice) -> Inputs:
        """A stretch of rows."""
        return Inputs({n: one.rows(part) if isinstance(one, Ragged) else one[part] for n, one in self.columns.items()})

    def examples(self) -> Iterator[Row]:
        """One row after the other, as a record holds it."""
        if self.names == (ONE,) and self.is_one:
            yield from self.array
            return
        for row in range(len(self)):
            yield {name: np.asarray(one[row]) for name, one in self.columns.items()}

    @classmethod
    def concat(cls, parts: Sequence[Inputs]) -> Inputs:
        """The rows of all, which have the same columns; at least one."""
        if len(parts) == 1:
            return parts[0]
        found: dict[str, Column] = {}
        for name in parts[0].names:
            columns = [part.columns[name] for part in parts]
            ragged = [one for one in columns if isinstance(one, Ragged)]
            if ragged:
                ends = _ends(np.concatenate([one.lengths for one in ragged]))
                found[name] = Ragged(np.concatenate([one.values for one in ragged]), ends)
            else:
                found[name] = np.concatenate([one for one in columns if not isinstance(one, Ragged)])
        return cls(found)

    @classmethod
    def stack(cls, examples: Sequence[Mapping[str, Array]], specs: Sequence[TensorSpec]) -> Inputs:
        """Rows of these tensors, at least one."""
        found: dict[str, Column] = {}
        for spec in specs:
            rows = [np.asarray(one[spec.name], dtype=spec.dtype) for one in examples]
            found[spec.name] = Ragged.of(rows, spec) if spec.ragged else np.stack(rows)
        return cls(found)

    @classmethod
    def blank(cls, specs: Sequence[TensorSpec], count: int) -> Inputs:
        """Rows of zeros; of a ragged tensor, of length 1."""
        found: dict[str, Column] = {}
        for spec in specs:
            zeros = np.zeros((count, *spec.shape), dtype=spec.dtype)
            found[spec.name] = Ragged(zeros, np.arange(count + 1, dtype=np.int64)) if spec.ragged else zeros
        return cls(found)

    def batch(self, *, least: int = 1) -> dict[str, Array]:
        """What a model takes, by name: a ragged column padded to its longest row (and to `least`), with its lengths."""
        found: dict[str, Array] = {}
        for name, one in self.columns.items():
            if isinstance(one, Ragged):
                found[name], found[f"{name}{LENGTHS}"] = one.padded(least=least), one.lengths
            else:
                found[name] = one
        return found

    def finite(self) -> Array:
        """(N,) bool: rows without NaN and infinity."""
        found = np.ones(len(self), dtype=bool)
        for one in self.columns.values():
            if isinstance(one, Ragged):
                bad = ~np.isfinite(one.values.reshape(len(one.values), -1)).all(axis=1)
                found[np.repeat(np.arange(len(one)), one.lengths)[bad]] = False
            else:
                found &= np.isfinite(one.reshape(len(one), -1)).all(axis=1)
        return found

    def arrays(self) -> dict[str, Array]:
        """As plain arrays by name, to be stored or sent; `from_arrays` makes them inputs again."""
        if self.names == (ONE,) and self.is_one:
            return {ONE: self.array}
        found: dict[str, Array] = {}
        for name, one in self.columns.items():
            if isinstance(one, Ragged):
                found |= {f"{STORED}{name}{VALUES}": one.values, f"{STORED}{name}{OFFSETS}": one.offsets}
            else:
                found[f"{STORED}{name}"] = one
        return found

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Inputs:
        """Read back, beside whatever else is among `arrays`. Raises ``ValueError`` for what is none."""
        if ONE in arrays:
            return cls({ONE: arrays[ONE]})
        stored = {name.removeprefix(STORED): one for name, one in arrays.items() if name.startswith(STORED)}
        found: dict[str, Column] = {}
        for name in sorted(stored):
            base, dot, part = name.partition(".")
            if not dot:
                found[base] = stored[name]
            elif part == VALUES[1:]:
                found[base] = Ragged(stored[name], stored.get(f"{base}{OFFSETS}", np.zeros(0, np.int64)))
        return cls(found)


def misfit(inputs: Inputs, specs: Sequence[TensorSpec]) -> str:
    """Why these rows are not those of the tensors, as got / expected; empty when they are."""
    if set(inputs.names) != {spec.name for spec in specs}:
        return f"got inputs {', '.join(sorted(inputs.names))}, expected {', '.join(sorted(s.name for s in specs))}"
    for spec in specs:
        one = inputs.columns[spec.name]
        ragged = isinstance(one, Ragged)
        shape = one.shape if isinstance(one, Ragged) else tuple(one.shape[1:])
        if (shape, str(one.dtype), ragged) != (spec.shape, spec.dtype, spec.ragged):
            got = f"{'ragged ' if ragged else ''}{one.dtype} {list(shape)}"
            return f"got input {spec.name} of {got}, expected {spec}"
    return ""


def example_misfit(example: Any, specs: Sequence[TensorSpec]) -> str:
    """Why a record's input is none of these tensors, as got / expected; empty when it is."""
    if not isinstance(example, Mapping):
        return f"got an input of type {type(example).__name__}, expected {', '.join(map(str, specs))} by name"
    names = {spec.name for spec in specs}
    if set(example) != names:
        missing, extra = sorted(names - set(example)), sorted(map(str, set(example) - names))
        return f"got no input {missing[0]!r}" if missing else f"got input {extra[0]!r}, which tensors() does not name"
    for spec in specs:
        try:
            found = np.asarray(example[spec.name])
        except ValueError as error:
            return f"input {spec.name}: {error}"
        shape = found.shape[1:] if spec.ragged else found.shape
        if shape != spec.shape or (spec.ragged and found.ndim == 0):
            return f"got input {spec.name} of shape {list(found.shape)}, expected {spec}"
        if found.size and not np.can_cast(found.dtype, spec.dtype, "same_kind"):
            return f"got input {spec.name} of {found.dtype}, expected {spec}"
    return ""
