"""Per-row outputs of one model on one set of rows: the evidence that every statistic is computed from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.identity.stored import store_once
from mlratchet.models.ports.storage import ObjectStore
from safetensors.numpy import load, save

BLOCK_WORDS = 65_536  # that are written at once


@dataclass(frozen=True, kw_only=True, eq=False)
class RowOutputs:
    """Shape legend: N rows, C classes."""

    ids: Sequence[str]
    y: np.ndarray[Any, Any]  # (N,) class index, number or relevance; (N, C) 0 or 1 of a multi-label
    output: np.ndarray[Any, Any]  # (N, C) logits, or (N,) predictions or scores
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    dataset_id: str = ""  # whose rows they are
    unknown: tuple[str, ...] = ()  # classes or labels that this version does not know: its logits there are -inf
    beyond: tuple[str, ...] = ()  # those that it alone knows, of which there is no output here

    def __post_init__(self) -> None:
        if not len(self.ids) == len(self.y) == len(self.output):
            raise ValueError(
                f"{len(self.ids)} ids, {len(self.y)} targets, {len(self.output)} outputs: expected as many of each"
            )


def save_rows(store: ObjectStore, rows: RowOutputs) -> str:
    """Publish as `rows/<sha256>.safetensors`; returns the key."""
    about = np.frombuffer(about_bytes(rows), dtype=np.uint8)
    data = save({"y": np.ascontiguousarray(rows.y), "output": np.ascontiguousarray(rows.output), "about": about})
    key = f"rows/{digest_bytes(data)}.safetensors"
    store_once(store, key, data)  # the same rows go through every gate
    return key


def about_bytes(rows: RowOutputs) -> bytes:
    """The words of the rows as canonical JSON, made piece by piece: they are never all there as text of Python's."""
    alone = {"unknown": rows.unknown, "beyond": rows.beyond}  # written where there are any
    plain = {"dataset_id": rows.dataset_id} | {name: list(value) for name, value in alone.items() if value}
    parts = {name: [canonical_json(value)] for name, value in plain.items()}
    parts["ids"] = list_parts(rows.ids)
    columns = [[canonical_json(name), b":", *list_parts(rows.columns[name])] for name in sorted(rows.columns)]
    parts["columns"] = [b"{", *_joined(columns), b"}"]
    named = [[canonical_json(name), b":", *parts[name]] for name in sorted(parts)]
    return b"".join([b"{", *_joined(named), b"}"])


def list_parts(words: Sequence[str]) -> list[bytes]:
    """The bytes of a canonical JSON list, in parts."""
    found, some = [b"["], iter(words)
    while block := list(islice(some, BLOCK_WORDS)):
        found += [b"," if len(found) > 1 else b"", canonical_json(block)[1:-1]]
    return [*found, b"]"]


def _joined(parts: Sequence[Sequence[bytes]]) -> Iterator[bytes]:
    for number, part in enumerate(parts):
        yield from ((b",", *part) if number else part)


def load_rows(store: ObjectStore, key: str) -> RowOutputs:
    """Read back, verified by the digest in the key. Raises ``DigestMismatch``."""
    parts = load(store.get(key, sha256=key.removeprefix("rows/").removesuffix(".safetensors")))
    about = json.loads(parts["about"].tobytes())
    return RowOutputs(
        ids=about["ids"],
        y=parts["y"],
        output=parts["output"],
        columns=about["columns"],
        dataset_id=about.get("dataset_id", ""),
        unknown=tuple(about.get("unknown", ())),
        beyond=tuple(about.get("beyond", ())),
    )
