"""Which sketch a column has: by the kind of its field and by what stands in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.monitoring.sketches.numbers import NumberSketch
from mlratchet.models.monitoring.sketches.values import ValueSketch
from mlratchet.models.monitoring.sketches.vectors import VectorSketch
from mlratchet.models.schema.fields import Kind

Sketch = NumberSketch | ValueSketch | VectorSketch
FORMS: Mapping[str, type[Sketch]] = {one.form: one for one in (NumberSketch, ValueSketch, VectorSketch)}
MEASURED: tuple[Kind, ...] = ("number", "time")
SPELT: tuple[Kind, ...] = ("text", "letters")


def of(column: Any, kind: Kind, *, like: Sketch | None = None) -> Sketch:
    """The sketch of a column.

    Args:
        column: An Arrow array, numpy array or list. Lists of numbers of one length (the log's `prepared`) give a sketch
            of vectors whatever the kind; numbers and times one of numbers; texts and letters that of their lengths;
            everything else (categories, entities, digests of pictures and sounds) one of values.
        kind: Of the field.
        like: The reference that it will be compared or merged with: a number's bins are chosen once.

    Raises ``ValueError`` for a column that has no such sketch.
    """
    array = arrow(column)
    if pa.types.is_list(array.type) or pa.types.is_fixed_size_list(array.type) or pa.types.is_large_list(array.type):
        rows = vectors(array, like.size if isinstance(like, VectorSketch) else None)
        same = isinstance(like, VectorSketch) and like.size == rows.shape[1]
        found: Sketch = like.like() if like is not None and same else VectorSketch(size=rows.shape[1])
        found.update(rows)
        return found
    if kind in MEASURED or kind in SPELT:
        values = numbers(array, kind)
        found = like.like() if isinstance(like, NumberSketch) else NumberSketch.fitted(values)
        found.update(values)
        return found
    found = ValueSketch()
    found.update(array)
    return found


def arrow(column: Any) -> Any:
    """As an Arrow array."""
    if isinstance(column, pa.Array | pa.ChunkedArray):
        return column
    if isinstance(column, np.ndarray) and column.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(column).ravel()), column.shape[1])
    return pa.array(column, from_pandas=False)


def numbers(array: Any, kind: Kind) -> Any:
    """(N,) floats of numbers and times, lengths of texts; NaN is missing. Raises ``ValueError`` for others."""
    if kind in SPELT and not pa.types.is_null(array.type):
        array = pc.utf8_length(array)
    elif pa.types.is_timestamp(array.type):
        array = pc.divide(array.cast(pa.timestamp("us")).cast(pa.int64()).cast(pa.float64()), 1e6)
    try:
        return array.cast(pa.float64()).to_numpy(zero_copy_only=False) if array.null_count else _as_they_are(array)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"a column of {array.type} is none of kind {kind}: {error}") from error


def _as_they_are(array: Any) -> Any:
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    fitting = pa.types.is_float32(array.type) or pa.types.is_float64(array.type)
    return (array if fitting else array.cast(pa.float64())).to_numpy(zero_copy_only=False)


def vectors(array: Any, size: int | None) -> Any:
    """(N, D) float32; a row that is null or of another length than `size`, or than the first, is NaN."""
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    lengths = np.asarray(pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False), dtype=np.int64)
    given = lengths[lengths > 0]
    size = size or (int(given[0]) if len(given) else 1)
    fitting = lengths == size
    found = np.full((len(lengths), size), np.nan, dtype=np.float32)
    kept = array.filter(pa.array(fitting))
    found[fitting] = kept.flatten().cast(pa.float32()).to_numpy(zero_copy_only=False).reshape(-1, size)
    return found


def merged(sketches: Iterable[Sketch]) -> Sketch:
    """One sketch of all, which are left as they are. Raises ``ValueError`` for none, and for such as do not fit."""
    held = list(sketches)
    if not held:
        raise ValueError("expected one or more sketches")
    found = held[0].like()
    for one in held:
        if type(one) is not type(found):
            raise ValueError(f"a sketch of {one.form} and one of {found.form} cannot be merged")
        found.merge(one)  # type: ignore[arg-type]  # of the same class, as was just asked
    return found


def sketch_from_json(state: Mapping[str, Any]) -> Sketch:
    """The reverse of `to_json` of any. Raises ``ValueError`` for what is no sketch."""
    if state.get("form") not in FORMS:
        raise ValueError(f"a sketch of {state.get('form')!r}; expected one of {', '.join(FORMS)}")
    return FORMS[state["form"]].from_json(state)
