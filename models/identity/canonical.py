"""Canonical JSON and digests: equal values give equal bytes, and bytes are named by their SHA-256."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

LOOKED_INTO = (float, dict, list, tuple)


def _refuse_non_finite(value: Any, path: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{path or 'value'} is {value}: canonical JSON holds finite numbers only")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{path or 'value'} has a key of type {type(key).__name__}, expected str")
            if isinstance(item, LOOKED_INTO):
                _refuse_non_finite(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            if isinstance(item, LOOKED_INTO):  # of texts and whole numbers there are many, and nothing to say
                _refuse_non_finite(item, f"{path}[{index}]")


def canonical_json(value: Any) -> bytes:
    """UTF-8 JSON with sorted keys and no spaces. Raises ``ValueError`` for NaN, infinity, non-string keys."""
    _refuse_non_finite(value, "")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(value: Any) -> str:
    """SHA-256 hex of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def digest_bytes(data: bytes | bytearray) -> str:
    """SHA-256 hex of `data`."""
    return hashlib.sha256(data).hexdigest()
