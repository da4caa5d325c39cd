"""Digests of the raw cells of a row: who it is without an id of its own, and whether its input was delivered otherwise.

Over the text as it was delivered, by column name: neither another order of columns nor what float32 keeps of a number
changes them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from mlratchet.models.identity.canonical import canonical_json, digest_bytes

if TYPE_CHECKING:
    import pyarrow as pa

DIGITS = 32  # hexadecimal, of SHA-256: 128 bits tell rows apart
ESCAPED = frozenset(b'"\\') | frozenset(range(0x20))  # bytes of characters that JSON does not hold as they are


def cells_digest(values: Mapping[str, str], names: Iterable[str]) -> str:
    """Of the cells of these columns, in the order of their names; a column that the row lacks is none of it."""
    cells = [[name, values[name]] for name in sorted(names) if name in values]
    return digest_bytes(canonical_json(cells))[:DIGITS]


def cells_digests(columns: Mapping[str, pa.Array], names: Iterable[str], rows: int) -> list[str]:
    """The same of every row: by column, cells as `json_of_text` makes them, without nulls."""
    import pyarrow as pa
    import pyarrow.compute as pc

    known = [name for name in sorted(names) if name in columns]
    if not known:
        return [cells_digest({}, ())] * rows
    parts: list[pa.Array | pa.Scalar] = []
    for place, name in enumerate(known):
        begin = f"{',' if place else '['}[{json.dumps(name, ensure_ascii=False)},"
        parts += [pa.scalar(begin), columns[name], pa.scalar("]")]
    told = pc.binary_join_element_wise(*parts, pa.scalar("]"), pa.scalar(""))
    return [one[:DIGITS] for one in sha256_of_each(told)]


def json_of_text(column: pa.Array) -> pa.Array:
    """Every cell as a JSON string; null stays null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if holds_any(column, ESCAPED):
        told = [None if one is None else json.dumps(one, ensure_ascii=False) for one in column.to_pylist()]
        return pa.array(told, pa.string())
    return pc.binary_join_element_wise(pa.scalar('"'), column, pa.scalar('"'), pa.scalar(""))


def holds_any(cells: pa.Array, wanted: frozenset[int]) -> bool:
    """Whether a byte of any cell (text) is one of these; it may say so of what lies where a cell is null."""
    import numpy as np

    width = np.int64 if str(cells.type).startswith("large") else np.int32
    buffers = cells.buffers()
    if not len(cells) or buffers[2] is None:
        return False
    ends = np.frombuffer(buffers[1], width)[[cells.offset, cells.offset + len(cells)]]
    return bool(_among(wanted)[np.frombuffer(buffers[2], np.uint8)[ends[0] : ends[1]]].any())


@cache
def _among(wanted: frozenset[int]) -> Any:
    """By byte, whether it is one of these."""
    import numpy as np

    return np.isin(np.arange(256), sorted(wanted))


def sha256_of_each(cells: pa.Array) -> list[str]:
    """SHA-256 hex of the bytes of every cell (text or bytes, no nulls)."""
    offsets, data = bytes_of(cells)
    view, made = memoryview(data), hashlib.sha256
    return [made(view[at:end]).hexdigest() for at, end in pairwise(offsets)]


def bytes_of(cells: pa.Array) -> tuple[Sequence[int], bytes | memoryview]:
    """Where every cell begins, and the end of the last one; and the bytes."""
    import numpy as np
    import pyarrow as pa

    kind = cells.type
    wide = pa.types.is_large_string(kind) or pa.types.is_large_binary(kind)
    buffers, width = cells.buffers(), np.int64 if wide else np.int32
    offsets = np.frombuffer(buffers[1] or bytes(8), width)[cells.offset : cells.offset + len(cells) + 1]
    data = memoryview(buffers[2]) if buffers[2] is not None else b""
    return offsets.tolist(), data
