"""The values that training rows hold, counted and numbered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.errors import DataError
from mlratchet.models.preparation.base import Pass
from mlratchet.models.preparation.cells import column_of
from mlratchet.models.schema.cells import one_array
from mlratchet.models.schema.plain import FEW

Array = np.ndarray[Any, Any]


class Vocabulary:
    """Values -> codes from `first` on, in the order of `values`; another value has code 0."""

    def __init__(self, values: Sequence[str], *, first: int) -> None:
        self._codes = {value: code for code, value in enumerate(values, first)}
        self.size = first + len(values)

    def codes(self, column: pa.ChunkedArray, *, missing: int) -> Array:
        """(N,) int64; `missing` where nothing is given."""
        if len(column) <= FEW:
            return self.codes_of(column.to_pylist(), missing=missing)
        coded = one_array(column).dictionary_encode()
        known = [self._codes.get(value, 0) for value in coded.dictionary.to_pylist()]
        table = np.array([*known, missing], dtype=np.int64)
        places = coded.indices
        if places.null_count:
            places = places.fill_null(len(known))
        found: Array = table[places.to_numpy(zero_copy_only=False)]
        return found

    def codes_of(self, values: Sequence[str | None], *, missing: int) -> Array:
        """The same of few values."""
        codes = self._codes
        return np.array([missing if value is None else codes.get(value, 0) for value in values], dtype=np.int64)


def chosen(counts: Counter[str], *, least: int, most: int) -> list[str]:
    """Values that occur `least` times, `most` of them: the commonest, of equal ones the first; by their letters.

    The order does not hang on the counts, so that another delivery of the same values changes no code.
    """
    common = [(-count, value) for value, count in counts.items() if count >= least]
    return sorted(value for _, value in sorted(common)[:most])


class CountedValues(Pass):
    """How often which values occur."""

    def __init__(self, field: str, *, at_most: int, hint: str) -> None:
        self.field, self.at_most, self.hint = field, at_most, hint
        self.counts: Counter[str] = Counter()

    def see(self, piece: pa.Table) -> None:
        """As `Pass.see`. Raises ``DataError`` for more different values than can be kept."""
        found = pc.value_counts(column_of(piece, self.field).drop_null())
        for value, count in zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True):
            self.counts[value] += count
        if len(self.counts) > self.at_most:
            raise DataError(
                f"preparation: field {self.field!r} has more than {self.at_most:,} different values; {self.hint}"
            )


def packed(values: Iterable[str]) -> dict[str, Array]:
    """Words as arrays, for a state: `letters` in UTF-8 one after the other, and where each `ends`."""
    parts = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, parts)], dtype=np.int64)
    return {"letters": np.frombuffer(b"".join(parts), dtype=np.uint8), "ends": ends}


def unpacked(letters: Array, ends: Array) -> list[str]:
    """What `packed` was given."""
    data, places = letters.tobytes(), ends.tolist()
    return [data[at:end].decode() for at, end in pairwise(places)]
