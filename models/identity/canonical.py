"""Canonical JSON and digests: equal values give equal bytes, and bytes are named by their SHA-256."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any


def _refuse(value: Any, path: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{path or 'value'} is {value}: canonical JSON holds finite numbers only")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{path or 'value'} has a key of type {type(key).__name__}, expected str")
            _refuse(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _refuse(item, f"{path}[{index}]")


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_TEXT, _HOLDS_NOTHING = {str}, {str, float, int, bool, type(None)}


def _has_other_keys(value: Any) -> bool:
    """Whether a dictionary somewhere in it may have a key that is not text, which JSON would turn into text."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if not _TEXT.issuperset(map(type, one)):
                return True
            one = one.values()
        elif not isinstance(one, list | tuple):
            continue
        if not _HOLDS_NOTHING.issuperset(map(type, one)):
            waiting += one
    return False


def canonical_json(value: Any) -> bytes:
    """UTF-8 JSON with sorted keys and no spaces. Raises ``ValueError`` for NaN, infinity, non-string keys."""
    try:
        written = _ENCODER.encode(value)
    except (TypeError, ValueError):
        _refuse(value, "")  # says where
        raise
    if _has_other_keys(value):
        _refuse(value, "")
    return written.encode()


def digest(value: Any) -> str:
    """SHA-256 hex of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def digest_bytes(data: bytes | bytearray) -> str:
    """SHA-256 hex of `data`."""
    return hashlib.sha256(data).hexdigest()
