"""Several values in one cell: a list, or words parted by a separator."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.schema.cells import mask, text_of
from mlratchet.models.schema.fields import Field, Schema

SEPARATOR = "|"


def in_parts(name: str, raw: pa.Array, field: Field, missing: tuple[str, ...]) -> pa.Array:
    """(N,) lists of strings without blanks around them and without empty ones; null where nothing is given.

    Raises ``DataError`` for a column of another type.
    """
    if pa.types.is_list(raw.type) or pa.types.is_large_list(raw.type) or pa.types.is_fixed_size_list(raw.type):
        lists = raw.cast(pa.list_(raw.type.value_type))
        words = text_of(name, lists.flatten(), missing)
    else:
        text = text_of(name, raw, missing)
        lists = pc.split_pattern(_plain(text, field.separator or SEPARATOR), pattern=field.separator or SEPARATOR)
        words = text_of(name, lists.flatten(), missing)
    rows = pc.list_parent_indices(lists)
    given = words.is_valid()
    counts = pc.value_counts(rows.filter(given))
    sizes = dict(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True))
    offsets = [0]
    for row in range(len(lists)):
        offsets.append(offsets[-1] + sizes.get(row, 0))
    found = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), words.filter(given))
    return pc.if_else(lists.is_valid(), found, pa.scalar(None, found.type))


def _plain(cells: pa.Array, separator: str) -> pa.Array:
    """Lists that are written as JSON, parted by the separator."""
    written = np.flatnonzero(mask(pc.starts_with(cells, "[")))
    if not len(written):
        return cells
    found = cells.to_pylist()
    for row in written.tolist():
        with suppress(ValueError):
            found[row] = separator.join(str(one) for one in json.loads(found[row]))
    return pa.array(found, pa.string())


def lists_as_text(raw: pa.Table, schema: Schema) -> pa.Table:
    """Raw columns in which lists of several values are parted by their separator."""
    for name, field in schema.fields.items():
        if field.several and name in raw.column_names and pa.types.is_list(raw[name].type):
            words = [None if one is None else (field.separator or SEPARATOR).join(one) for one in raw[name].to_pylist()]
            raw = raw.set_column(raw.column_names.index(name), name, pa.array(words, pa.string()))
    return raw


def strangers_in(counts: Mapping[str, int], name: str, field: Field) -> dict[str, int]:
    """Of cells and how often there is each: the values in them that are none of the field's, the commonest first."""
    found: Counter[str] = Counter()
    for cell, values in zip(
        counts, in_parts(name, pa.array(list(counts), pa.string()), field, ()).to_pylist(), strict=True
    ):
        for value in {*values} - {*(field.values or ())}:
            found[value] += counts[cell]
    return dict(sorted(found.items(), key=lambda one: (-one[1], one[0])))
