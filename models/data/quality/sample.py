"""The values of a bounded, random sample of the records, by field: where distributions and leaks are looked for.

Shape legend: N records of the sample.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import orjson
from mlratchet.models.data.split import SIDES, Numbers, Side
from mlratchet.models.schema.fields import Schema
from mlratchet.models.sources.record import Record, Target
from mlratchet.models.sources.record_table import unpacked_records
from mlratchet.models.sources.stored_examples import EXAMPLE

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLE = 20_000  # records; chosen by a hash of their ids, so that their order says nothing
FIELDS = 200  # the first ones of a wide table
SMALL = 4_096  # values of a picture that is kept
WORDS = 256  # characters of a value that are kept; its length is known apart
Kind = Literal["number", "word", "text", "letters", "time"]
KINDS: Mapping[str, Kind] = {
    "number": "number", "category": "word", "entity": "word", "text": "text", "letters": "letters", "time": "time",
}  # fmt: skip
Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class FieldValues:
    """One field of the sample."""

    name: str
    kind: Kind
    values: Array  # (N,) float64, of a time seconds since 1970, NaN where not given; else objects: text or None
    lengths: Array  # (N,) characters, 0 where not given; of numbers empty
    input: bool  # whether the model is given it

    @property
    def given(self) -> Array:
        """(N,) where there is a value."""
        if self.values.dtype == object:
            return np.asarray([one is not None for one in self.values], dtype=bool)
        return np.asarray(~np.isnan(self.values))


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Records of a delivery, by hash."""

    ids: tuple[str, ...]
    labels: tuple[Target, ...]
    sides: tuple[Side, ...]
    fields: tuple[FieldValues, ...]
    of: int  # records of the delivery
    pictures: Array | None = None  # (N, pixels) float32 of small ones, where that is what the model is given

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class _Kept:
    record_id: str
    y: Target
    side: Side
    values: Mapping[str, Any]
    x: Array | None


class Sampler:
    """Keeps the records with the smallest hashes."""

    def __init__(
        self, schema: Schema | None, columns: tuple[str, ...], *, size: int = SAMPLE, pictures: bool = False
    ) -> None:
        """`columns` are those of a table's input; `pictures`: whether small ones are kept, for whoever learns from
        them."""
        self._schema, self._columns, self._size, self._pictures = schema, columns, size, pictures
        self._kept: list[tuple[int, int, _Kept]] = []  # by the hash, negative: a heap gives away the smallest
        self._seen = 0

    def add(self, table: pa.Table, sides_N: Numbers) -> None:
        """The next records."""
        hashed = [hashlib.blake2b(name.encode(), digest_size=7).digest() for name in table["id"].to_pylist()]
        places = -np.frombuffer(b"\0".join([b"", *hashed]), ">i8")
        before, self._seen = self._seen, self._seen + len(places)
        chosen = np.flatnonzero(places > self._kept[0][0]) if len(self._kept) == self._size else np.arange(len(places))
        if len(chosen) > self._size:
            chosen = np.sort(chosen[np.argpartition(-places[chosen], self._size - 1)[: self._size]])
        for row, record in zip(chosen.tolist(), unpacked_records(table.take(chosen)), strict=True):
            place = int(places[row])
            if len(self._kept) == self._size and place <= self._kept[0][0]:
                continue
            side = SIDES[sides_N[row]]
            one = (place, before + row, _Kept(record.id, record.y, side, self._values(record), self._picture(record)))
            if len(self._kept) < self._size:
                heapq.heappush(self._kept, one)
            else:
                heapq.heapreplace(self._kept, one)

    def _values(self, record: Record) -> dict[str, Any]:
        x = record.x
        if isinstance(x, Mapping):
            held = x.get(EXAMPLE)
            found = orjson.loads(np.asarray(held).tobytes()) if held is not None and self._schema is not None else {}
            return {**record.columns, **{name: _cut(value) for name, value in found.items() if self._is_told(name)}}
        if self._columns and x.ndim == 1:
            return {**record.columns, **dict(zip(self._columns[:FIELDS], x[:FIELDS].tolist(), strict=False))}
        return dict(record.columns)

    def _is_told(self, name: str) -> bool:
        assert self._schema is not None, "asked of a schema's fields alone"
        known = self._schema.fields.get(name)
        return known is not None and known.kind in KINDS

    def _picture(self, record: Record) -> Array | None:
        x = record.x
        if not self._pictures or isinstance(x, Mapping) or x.ndim < 2 or x.size > SMALL:
            return None
        return np.asarray(x.astype(np.float32).ravel())

    def sample(self) -> Sample:
        """By hash."""
        kept = [one for *_, one in sorted(self._kept, key=lambda one: (-one[0], one[2].record_id))]
        pixels = [one.x for one in kept if one.x is not None]
        whole = len(pixels) == len(kept) and len({one.size for one in pixels}) == 1
        return Sample(
            ids=tuple(one.record_id for one in kept),
            labels=tuple(one.y for one in kept),
            sides=tuple(one.side for one in kept),
            fields=tuple(self._fields(kept)),
            of=self._seen,
            pictures=np.stack(pixels) if whole and pixels else None,
        )

    def _fields(self, kept: list[_Kept]) -> list[FieldValues]:
        if self._schema is not None:
            known = {
                name: (KINDS[one.kind], one.input)
                for name, one in self._schema.fields.items()
                if one.kind in KINDS and name != self._schema.label
            }
        else:
            known = dict.fromkeys(self._columns, ("number", True))
            beside = {name for one in kept for name in one.values} - set(known)
            known |= {name: ("word", False) for name in sorted(beside) if not name.startswith("@")}
        return [_field(name, kind, kept, given=given) for name, (kind, given) in list(known.items())[:FIELDS]]


def _cut(value: Any) -> Any:
    """A text's beginning, and how long it is."""
    return (value[:WORDS], len(value)) if isinstance(value, str) and len(value) > WORDS else value


def _field(name: str, kind: Kind, kept: list[_Kept], *, given: bool) -> FieldValues:
    held = [one.values.get(name) for one in kept]
    if kind in ("number", "time"):
        read = _seconds if kind == "time" else _number
        values = np.asarray([read(one) for one in held], dtype=np.float64)
        return FieldValues(name=name, kind=kind, values=values, lengths=np.empty(0), input=given)
    texts = np.empty(len(held), dtype=object)
    lengths = np.zeros(len(held))
    for row, one in enumerate(held):
        text, length = one if isinstance(one, tuple) else (one, len(str(one)) if one is not None else 0)
        texts[row] = None if text in (None, "") else str(text)
        lengths[row] = length
    return FieldValues(name=name, kind=kind, values=texts, lengths=lengths, input=given)


def _number(value: Any) -> float:
    try:
        found = float(value) if value not in (None, "") else np.nan
    except (TypeError, ValueError):
        return float("nan")
    return float(found) if np.isfinite(found) else float("nan")


def _seconds(value: Any) -> float:
    if isinstance(value, tuple) or value in (None, ""):
        return float("nan")
    try:
        return float(np.datetime64(str(value).removesuffix("Z").removesuffix("+00:00"), "ms").astype(np.int64)) / 1e3
    except ValueError:
        return float("nan")
