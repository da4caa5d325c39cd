"""The cells of a raw column as text: without blanks around them, in Unicode's composed form, null where not given."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.errors import DataError
from mlratchet.models.schema.cell_bytes import are_seen, ends_and_bytes

EXACT = 2.0**53  # below, every whole number is a float of its own


def one_array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column in one piece, dictionaries spelled out."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):  # an empty one, or one beyond 2 GB
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], type=array.type)
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def is_text(kind: pa.DataType) -> bool:
    """Of a column that holds cells as they were written."""
    return any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def text_of(name: str, array: pa.Array, missing: Sequence[str] = ()) -> pa.Array:
    """As strings; null for an empty cell and for one of `missing`. Raises ``DataError`` for a column of another type
    whose text could be written in several ways."""
    if not is_text(array.type):
        array = _spelled(name, array)
    array = array.cast(pa.string()) if not pa.types.is_string(array.type) else array
    ends, data = ends_and_bytes(array)
    if not are_seen(data):
        array = pc.utf8_trim_whitespace(_composed(array))
    elif not missing and (ends[1:] > ends[:-1]).all():
        return array  # nothing is empty, or null
    given = ["", *missing]
    found = pc.equal(array, "") if len(given) == 1 else pc.is_in(array, value_set=pa.array(given, type=pa.string()))
    return pc.if_else(found, pa.scalar(None, pa.string()), array) if pc.any(found).as_py() else array


def _composed(array: pa.Array) -> pa.Array:
    """In Unicode's composed form; Arrow 25's `utf8_normalize` decomposes where NFC is asked for."""
    others = mask(pc.invert(pc.string_is_ascii(array)))
    if not others.any():
        return array
    coded = pc.dictionary_encode(array.filter(pa.array(others)))
    composed = [unicodedata.normalize("NFC", text) for text in coded.dictionary.to_pylist()]
    return pc.replace_with_mask(array, pa.array(others), pa.array(composed, type=pa.string()).take(coded.indices))


def _spelled(name: str, array: pa.Array) -> pa.Array:
    kind = array.type
    if pa.types.is_null(kind):
        return pa.nulls(len(array), pa.string())
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return array.cast(pa.string())
    if pa.types.is_floating(kind):  # as pandas has whole numbers with gaps
        array, kind = (array.cast(pa.float32()), pa.float32()) if pa.types.is_float16(kind) else (array, kind)
        given = pc.if_else(pc.is_nan(array), pa.scalar(None, kind), array)
        if mask(pc.and_(pc.equal(pc.floor(given), given), pc.less(pc.abs(given), EXACT)))[
            np.asarray(given.is_valid())
        ].all():
            return given.cast(pa.int64()).cast(pa.string())
    raise DataError(f"column {name!r}: its type is {kind}, expected text, whole numbers or truth values")


def mask(values: Any) -> np.ndarray[Any, Any]:
    """An Arrow array of booleans (N,) as NumPy's; null is false."""
    return np.asarray(pc.fill_null(values, False))
