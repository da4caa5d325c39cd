"""Nested lists of numbers as one: what JSON, and nested columns of Parquet, hold of a tensor."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


def flat(value: Any, shape: Sequence[int]) -> list[float] | None:
    """Nested lists of a shape as one; None for anything else."""
    if not shape:
        return [as_float(value)] if isinstance(value, int | float) and not isinstance(value, bool) else None
    if not isinstance(value, list) or len(value) != shape[0]:
        return None
    parts = [flat(one, shape[1:]) for one in value]
    return None if any(part is None for part in parts) else [x for part in parts if part is not None for x in part]


def as_float(value: float) -> float:
    """Infinity for an integer that no float holds."""
    try:
        return float(value)
    except OverflowError:  # an integer of 400 digits
        return math.inf


def shape_of_lists(raw: pa.Array) -> tuple[int, ...] | None:
    """Of cells (N) that are lists of numbers, nested ones too, and all of one shape; None for any others."""
    shape: list[int] = []
    while is_list(raw.type):
        sizes = pc.unique(pc.list_value_length(raw).drop_null()).to_pylist()
        if len(sizes) != 1 or not sizes[0]:
            return None
        shape.append(sizes[0])
        raw = pc.list_flatten(raw)
    numbers = pa.types.is_integer(raw.type) or pa.types.is_floating(raw.type)
    return tuple(shape) if numbers and shape else None


def is_list(kind: pa.DataType) -> bool:
    """Of a column of lists."""
    return any(test(kind) for test in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list))


def flat_column(raw: pa.Array, shape: Sequence[int]) -> tuple[pa.Array, list[bool]]:
    """Cells (N) that are JSON, or nested lists, as flat ones; and which of them are given and no such lists."""
    cells = [_read(cell) for cell in raw.to_pylist()]
    size = math.prod(shape)
    found = [None if cell is None else flat(cell, shape) or flat(cell, (size,)) for cell in cells]
    broken = [cell is not None and one is None for cell, one in zip(cells, found, strict=True)]
    return pa.array(found, type=pa.list_(pa.float64())), broken


def _read(cell: Any) -> Any:
    """None where nothing is given, and "" for what is no JSON."""
    if not isinstance(cell, str):
        return cell
    if not cell.strip():
        return None
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return ""
