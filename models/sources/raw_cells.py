"""Digests of the raw cells of a row: who it is without an id of its own, and whether its input was delivered otherwise.

Over the text as it was delivered, by column name: neither another order of columns nor what float32 keeps of a number
changes them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.schema.cell_bytes import Bytes, Places, ends_and_bytes, holds_any

if TYPE_CHECKING:
    import pyarrow as pa

DIGITS = 32  # hexadecimal, of SHA-256: 128 bits tell rows apart
DIGEST_BYTES = 32
ESCAPED = frozenset(b'"\\') | frozenset(range(0x20))  # bytes of characters that JSON does not hold as they are


def cells_digest(values: Mapping[str, str], names: Iterable[str]) -> str:
    """Of the cells of these columns, in the order of their names; a column that the row lacks is none of it."""
    cells = [[name, values[name]] for name in sorted(names) if name in values]
    return digest_bytes(canonical_json(cells))[:DIGITS]


def cells_digests(columns: Mapping[str, pa.Array], names: Iterable[str], rows: int) -> pa.Array:
    """The same of every row: by column, cells as `within_json` makes them, without nulls."""
    import pyarrow as pa
    import pyarrow.compute as pc

    known = [name for name in sorted(names) if name in columns]
    if not known:
        return pa.array([cells_digest({}, ())] * rows, pa.string())
    parts: list[pa.Array | pa.Scalar] = []
    before = "["
    for name in known:
        parts += [pa.scalar(f'{before}[{json.dumps(name, ensure_ascii=False)},"'), columns[name]]
        before = '"],'
    told = pc.binary_join_element_wise(*parts, pa.scalar('"]]'), pa.scalar(""))
    return sha256_of_each(told, DIGITS)


def json_of_text(column: pa.Array) -> pa.Array:
    """Every cell as a JSON string; null stays null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(pa.scalar('"'), within_json(column), pa.scalar('"'), pa.scalar(""))


def within_json(column: pa.Array) -> pa.Array:
    """What stands between the quotes there: the column itself, where nothing has to be escaped."""
    import pyarrow as pa

    if not holds_any(column, ESCAPED):
        return column
    told = [None if one is None else json.dumps(one, ensure_ascii=False)[1:-1] for one in column.to_pylist()]
    return pa.array(told, pa.string())


def sha256_of_each(cells: pa.Array, digits: int = 2 * DIGEST_BYTES) -> pa.Array:
    """The first hexadecimal digits of SHA-256 of every cell (text or bytes, no nulls), as text."""
    return hexadecimal(sha256_between(*ends_and_bytes(cells)), digits)


def sha256_between(ends: Places, data: Bytes) -> Bytes:
    """(N, 32): SHA-256 of the bytes from each end (N + 1,) to the next."""
    import numpy as np

    whole, made = data.tobytes(), hashlib.sha256
    found = b"".join([made(whole[at:end]).digest() for at, end in pairwise(ends.tolist())])
    return np.frombuffer(found, np.uint8).reshape(-1, DIGEST_BYTES)


def hexadecimal(digests: Bytes, digits: int) -> pa.Array:
    """(N, bytes) as text of so many digits each, an even number."""
    import numpy as np
    import pyarrow as pa

    told = digests[:, : digits // 2].tobytes().hex().encode()
    ends = np.arange(0, len(told) + 1, digits, dtype=np.int32)
    return pa.StringArray.from_buffers(len(digests), pa.py_buffer(ends), pa.py_buffer(told))
