"""Freeze: everything that a gate judged, as canonical JSON in the bucket, so that it can be judged again.

The document follows the types of `Evidence` and of what it holds, field by field: a new field is covered as soon as its
type is one of those below, and refused here otherwise. Per-row outputs are objects of their own, named by their digest.
"""

from __future__ import annotations

import json
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
from mlratchet.models.errors import SecurityError
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.identity.signing import TrustedKeys
from mlratchet.models.metrics.rows import RowOutputs, load_rows, save_rows
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore
from pydantic import BaseModel

ROWS = {"ids", "y", "output", "columns", "unknown", "beyond"}  # fields of RowOutputs that its own object holds
NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


@dataclass(frozen=True, kw_only=True)
class Basis:
    """What judging depends on beside policy and evidence."""

    gate: str
    first_model: bool  # there was no champion
    task: str
    class_names: tuple[str, ...]
    now_s: float  # the clock, seconds since the epoch, for what expires


def evidence_key(digest: str) -> str:
    """Where frozen evidence is published."""
    return f"evidence/{digest}.json"


def freeze(store: ObjectStore, evidence: Evidence, basis: Basis) -> str:
    """Publish; returns the digest. Raises ``TypeError`` for a field of a type that cannot be read back."""
    document = {
        "basis": encode(store, basis, Basis, "basis"),
        "evidence": encode(store, evidence, Evidence, "evidence"),
    }
    body = canonical_json(document)
    digest = digest_bytes(body)
    store.create(evidence_key(digest), body)
    return digest


def thaw(store: ObjectStore, digest: str) -> tuple[Evidence, Basis]:
    """Read back, every digest verified. Raises ``SecurityError`` for what is missing or not such a document."""
    where = f"{store.bucket}/{evidence_key(digest)}"
    try:
        document = json.loads(store.get(evidence_key(digest), sha256=digest))
        evidence = decode(store, document["evidence"], Evidence)
        basis = decode(store, document["basis"], Basis)
    except ObjectNotFound as exc:
        raise SecurityError(f"{exc}; the evidence of a decision is gone") from exc
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise SecurityError(f"{where}: is not the evidence of a decision by this version of mlratchet ({exc})") from exc
    return evidence, basis


def row_keys(document: Any) -> list[str]:
    """Every per-row object that frozen evidence refers to, in order of appearance."""
    if isinstance(document, dict):
        own = [document["rows"]] if isinstance(document.get("rows"), str) else []
        return own + [key for item in document.values() for key in row_keys(item)]
    if isinstance(document, list):
        return [key for item in document for key in row_keys(item)]
    return []


@cache
def _hints_of(hint: type) -> dict[str, Any]:
    """Of the few types that evidence is made of: working them out takes longer than reading a document does."""
    return get_type_hints(hint)


def _options(hint: Any) -> list[Any]:
    return [one for one in get_args(hint) if one is not type(None)]


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


def _refuse(hint: Any, path: str) -> TypeError:
    return TypeError(f"{path}: evidence of type {hint} cannot be frozen; teach models/decisions/stored_evidence.py to")


def encode(store: ObjectStore, value: Any, hint: Any, path: str) -> Any:
    """`value`, which has the type `hint`, as JSON."""
    origin = get_origin(hint)
    if value is None:
        return None
    if _is_union(hint):
        return _encode_union(store, value, hint, path)
    if hint is float:
        return _encode_float(float(value))
    if hint in (int, bool, str):
        return hint(value)
    if origin is Literal:
        return value
    if hint is TrustedKeys:
        return json.loads(value.to_json())
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return value.model_dump(mode="json")
    if hint is np.ndarray or origin is np.ndarray:
        return {"dtype": str(value.dtype), "shape": list(value.shape), "values": _flat(value)}
    if origin in (dict, Mapping):
        key, item = get_args(hint)
        if key not in (str, int):
            raise _refuse(hint, path)
        return {str(k): encode(store, v, item, f"{path}[{k}]") for k, v in value.items()}
    if origin in (list, tuple, Sequence):
        pairs = zip(value, _items(hint, len(value)), strict=True)
        return [encode(store, v, t, f"{path}[{n}]") for n, (v, t) in enumerate(pairs)]
    if hint is RowOutputs:
        more = [f.name for f in fields(RowOutputs) if f.name not in ROWS]
        return {"rows": save_rows(store, value)} | _encode_fields(store, value, hint, path, more)
    return _encode_fields(store, value, hint, path, _names(hint, path))


def _encode_union(store: ObjectStore, value: Any, hint: Any, path: str) -> Any:
    """Of several types the one that the value has; only an optional type or a union of plain ones reads back."""
    options = _options(hint)
    if len(options) == 1:
        return encode(store, value, options[0], path)
    if any(option not in (int, float, str, bool) for option in options):
        raise _refuse(hint, path)
    return _encode_float(value) if isinstance(value, float) else value


def _encode_float(value: float) -> Any:
    """Canonical JSON holds finite numbers only; the others are words."""
    if math.isfinite(value):
        return value
    return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")


def _flat(array: Any) -> list[Any]:
    return [_encode_float(v) if isinstance(v, float) else v for v in array.ravel().tolist()]


def _names(hint: Any, path: str) -> list[str]:
    """Fields of a dataclass or a named tuple."""
    if is_dataclass(hint):
        return [f.name for f in fields(hint)]
    if isinstance(hint, type) and issubclass(hint, tuple) and hasattr(hint, "_fields"):
        return list(hint._fields)
    raise _refuse(hint, path)


def _encode_fields(store: ObjectStore, value: Any, hint: Any, path: str, names: list[str]) -> dict[str, Any]:
    hints = _hints_of(hint)
    return {name: encode(store, getattr(value, name), hints[name], f"{path}.{name}") for name in names}


def _items(hint: Any, count: int) -> list[Any]:
    """The type of each item of a list or tuple."""
    arguments = get_args(hint)
    fixed = get_origin(hint) is tuple and Ellipsis not in arguments
    return list(arguments) if fixed else [arguments[0]] * count


def decode(store: ObjectStore, value: Any, hint: Any) -> Any:
    """The inverse of `encode`."""
    origin = get_origin(hint)
    if value is None:
        return None
    if _is_union(hint):
        options = _options(hint)
        return decode(store, value, options[0]) if len(options) == 1 else _number(value)
    if hint is float:
        return float(_number(value))
    if hint in (int, bool, str) or origin is Literal:
        return value
    if hint is TrustedKeys:
        return TrustedKeys.from_json(json.dumps(value), where="frozen evidence")
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return hint.model_validate_json(json.dumps(value))
    if hint is np.ndarray or origin is np.ndarray:
        return np.asarray([_number(v) for v in value["values"]], dtype=value["dtype"]).reshape(value["shape"])
    if origin in (dict, Mapping):
        key, item = get_args(hint)
        return {key(k): decode(store, v, item) for k, v in value.items()}
    if origin in (list, tuple, Sequence):
        made = [decode(store, v, t) for v, t in zip(value, _items(hint, len(value)), strict=True)]
        return made if origin is list else tuple(made)
    hints = _hints_of(hint)
    read = {name: decode(store, item, hints[name]) for name, item in value.items() if name != "rows"}
    if hint is RowOutputs:
        return replace(load_rows(store, value["rows"]), **read)
    if not _asked_for(hint) <= set(read) <= set(_names(hint, hint.__name__)):
        raise ValueError(f"{hint.__name__} has the fields {sorted(_names(hint, ''))}, got {sorted(read)}")
    return hint(**read)


def _asked_for(hint: Any) -> set[str]:
    """Fields that evidence of any release has: one that was added later has a default, which an earlier one means."""
    if not is_dataclass(hint):
        return set(_names(hint, ""))
    return {f.name for f in fields(hint) if f.default is MISSING and f.default_factory is MISSING}


def _number(value: Any) -> Any:
    """A number, or the word for one that is not finite."""
    return NON_FINITE.get(value, value) if isinstance(value, str) else value
