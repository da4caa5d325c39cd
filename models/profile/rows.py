"""The rows of a dataset by field, a shard at a time: as people gave them where a schema says what they are, else as
the numbers or the pictures that a model takes.

Shape legend: N rows of a block, C channels, H height, W width.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from mlratchet.models.data.dataset import DatasetManifest, ShardRef
from mlratchet.models.data.shards import read_shard
from mlratchet.models.data.split import SIDES
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.schema.fields import Field, Schema
from mlratchet.models.sources.record import InputSpec, Split
from mlratchet.models.sources.stored_examples import documents_of
from mlratchet.models.tensors.named import Ragged

Shown = Literal["number", "category", "text", "letters", "time", "entity", "image", "audio", "tensor"]
PICTURE = "picture"  # the field of a workload that reads pictures without a schema


@dataclass(frozen=True, kw_only=True)
class FieldOfRows:
    """What is known of one column before it is read."""

    name: str
    kind: Shown
    unit: str = ""
    input: bool = True
    pixels: bool = False  # of a picture: its values are delivered, not the bytes of its file


@dataclass(frozen=True, kw_only=True)
class RowLayout:
    """How the rows of a dataset are to be understood."""

    fields: tuple[FieldOfRows, ...]
    label: str = "label"
    class_names: tuple[str, ...] = ()  # empty: a number is learnt
    schema: Schema | None = None
    id_column: str | None = None  # tells rows apart, and nothing else
    in_words: Callable[[Any], Sequence[str]] | None = None  # targets of no class, label or number, a text per row

    @classmethod
    def of(
        cls, spec: InputSpec, class_names: tuple[str, ...], schema: Schema | None, label: str = "label"
    ) -> RowLayout:
        """By the schema where there is one, else by what the workload takes."""
        if schema is not None:
            fields = [_of_schema(name, one) for name, one in schema.fields.items() if name != schema.label]
            return cls(fields=tuple(fields), label=schema.label or label, class_names=class_names, schema=schema)
        if spec.kind == "table":
            named = tuple(FieldOfRows(name=name, kind="number") for name in spec.columns)
        elif spec.kind == "image":
            named = (FieldOfRows(name=PICTURE, kind="image", pixels=True),)
        else:
            named = tuple(FieldOfRows(name=one.name, kind="tensor") for one in spec.specs)
        return cls(fields=named, label=label, class_names=class_names)


def _of_schema(name: str, one: Field) -> FieldOfRows:
    return FieldOfRows(name=name, kind=one.kind, unit=one.unit or "", input=one.input)


@dataclass(frozen=True, kw_only=True)
class RowBlock:
    """Rows of one side, a column per field; None is what was not given."""

    side: str
    ids: Sequence[str]
    y: np.ndarray[Any, Any]  # (N,) or (N, labels)
    fields: Mapping[str, Any]  # sequences: numbers as floats, times as seconds since 1970, pictures and sounds as bytes
    columns: Mapping[str, Sequence[str]]  # what travels with a row for slices, and is no field
    content: Sequence[bytes]  # digests of everything that a row holds, label and id aside


def blocks(store: ObjectStore, manifest: DatasetManifest, layout: RowLayout, *, most_shards: int) -> Iterator[RowBlock]:
    """Shard by shard, one in memory at a time; of more than `most_shards` a side, that many, evenly spread.

    Raises ``DigestMismatch`` for a shard that was changed, ``ObjectNotFound`` for one that is gone.
    """
    examples = manifest.raw if manifest.examples else manifest
    for side in SIDES:
        for ref in spread(examples.splits.get(side, ()), most_shards):
            rows = read_shard(store, ref)
            yield _block(side, rows, layout)


def spread(refs: Sequence[ShardRef], most: int) -> Sequence[ShardRef]:
    """At most so many of them, the first and the last among them."""
    if len(refs) <= most:
        return refs
    return [refs[int(at)] for at in np.unique(np.linspace(0, len(refs) - 1, most).round())]


def _block(side: str, rows: Split, layout: RowLayout) -> RowBlock:
    fields: dict[str, Any] = {}
    if layout.schema is not None:
        documents = documents_of(rows.x)
        carried = layout.schema.fields
        for field in layout.fields:
            if field.input or field.name not in rows.columns:
                fields[field.name] = [_value(one.get(field.name), field.kind) for one in documents]
            else:  # is read and checked, and travels beside the example
                fields[field.name] = [_told(text, field.kind) for text in rows.columns[field.name]]
        columns = {name: values for name, values in rows.columns.items() if name not in carried}
    else:
        for at, field in enumerate(layout.fields):
            if field.kind == "number":
                fields[field.name] = rows.x.array[:, at]
            else:
                one = rows.x.columns.get(field.name, next(iter(rows.x.columns.values())))  # the picture has no name
                fields[field.name] = [one[n] for n in range(len(one))] if isinstance(one, Ragged) else one
        columns = {name: values for name, values in rows.columns.items() if name != layout.id_column}
    content = _contents(rows, [*sorted(rows.columns)])
    return RowBlock(side=side, ids=rows.ids, y=rows.y, fields=fields, columns=columns, content=content)


def _contents(rows: Split, beside: Sequence[str]) -> list[bytes]:
    """A digest per row of the bytes of its input, arrays by the order of their names, and of what travels with it."""
    inputs = [rows.x.columns[name] for name in sorted(rows.x.names)]
    found = []
    for n in range(len(rows.ids)):
        whole = hashlib.blake2b(digest_size=8)
        for one in inputs:
            whole.update(np.ascontiguousarray(one[n]).tobytes())
        for name in beside:
            whole.update(b"\0" + rows.columns[name][n].encode())
        found.append(whole.digest())
    return found


def _value(value: Any, kind: Shown) -> Any:
    """Of a stored example, as it is measured."""
    if value is None:
        return None
    if kind in ("image", "audio"):
        return base64.b64decode(value)
    if kind == "time":
        return dt.datetime.fromisoformat(value).timestamp()
    if kind == "tensor":
        return np.asarray(value, dtype=np.float32).ravel()
    return value


def _told(text: str, kind: Shown) -> Any:
    """Of a column that travels beside the example, as text."""
    if text == "":
        return None
    if kind == "number":
        return float(text)
    return _value(text, kind) if kind == "time" else text
