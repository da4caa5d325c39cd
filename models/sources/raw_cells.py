"""Digests of the raw cells of a row: who it is without an id of its own, and whether its input was delivered otherwise.

Over the text as it was delivered, by column name: neither another order of columns nor what float32 keeps of a number
changes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mlratchet.models.identity.canonical import canonical_json, digest_bytes

DIGITS = 32  # hexadecimal, of SHA-256: 128 bits tell rows apart


def cells_digest(values: Mapping[str, str], names: Iterable[str]) -> str:
    """Of the cells of these columns, in the order of their names; a column that the row lacks is none of it."""
    cells = [[name, values[name]] for name in sorted(names) if name in values]
    return digest_bytes(canonical_json(cells))[:DIGITS]
