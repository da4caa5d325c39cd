"""Whatever a gate judged can be read back from the bucket and judged again, to the last bit."""

from __future__ import annotations

import dataclasses
import json
import math
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.decisions.stored_evidence import Basis, encode, evidence_key, freeze, row_keys, thaw
from mlratchet.models.errors import SecurityError
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.identity.signing import Signer, TrustedKey, TrustedKeys
from mlratchet.models.metrics.rows import RowOutputs
from pydantic import BaseModel

BASIS = Basis(gate="champion", first_model=False, task="classification", class_names=("a", "b"), now_s=5.5)


class Filler:
    """A value of any type that evidence may hold; numbers are never the same twice."""

    def __init__(self) -> None:
        self.count = 0

    def number(self) -> int:
        self.count += 1
        return self.count

    def __call__(self, hint: Any) -> Any:
        origin = get_origin(hint)
        if origin in (Union, types.UnionType):
            return self(next(one for one in get_args(hint) if one is not type(None)))
        if origin is Literal:
            return get_args(hint)[-1]
        if hint is bool:
            return True
        if hint in (int, float):
            return hint(self.number() + (0.5 if hint is float else 0))
        if hint is str:
            return f"text {self.number()}"
        if origin in (dict, Mapping):
            key, item = get_args(hint)
            return {self(key): self(item), self(key): self(item)}
        if origin in (list, tuple, Sequence):
            items = [self(one) for one in get_args(hint) if one is not Ellipsis]
            return items if origin is list else tuple(items)
        if hint is RowOutputs:
            return self.rows()
        if hint is TrustedKeys:
            signer = Signer.generate()
            key = {"id": signer.key_id, "public_key": signer.public_key, "role": "approver", "owner": "ada"}
            return TrustedKeys([TrustedKey.model_validate({**key, "valid_from_s": 0.0})])
        if dataclasses.is_dataclass(hint):
            hints = get_type_hints(hint)
            return hint(**{f.name: self(hints[f.name]) for f in dataclasses.fields(hint)})  # type: ignore[operator]
        if isinstance(hint, type) and issubclass(hint, BaseModel):
            return hint.model_construct(**{n: self(f.annotation) for n, f in hint.model_fields.items()})
        if isinstance(hint, type) and issubclass(hint, tuple):
            return hint(*(self(one) for one in get_type_hints(hint).values()))
        raise AssertionError(f"teach this test and models/decisions/stored_evidence.py about {hint}")

    def rows(self) -> RowOutputs:
        rng = np.random.default_rng(self.number())
        held: dict[str, Any] = {
            "ids": ["r1", "r2", "r3"], "y": np.array([0, 1, 1]), "output": rng.normal(size=(3, 2)).astype(np.float32),
            "columns": {"region": ["eu", "us", "eu"]},
        }  # fmt: skip
        hints = get_type_hints(RowOutputs)
        more = {f.name: self(hints[f.name]) for f in dataclasses.fields(RowOutputs) if f.name not in held}
        return RowOutputs(**held, **more)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return bool(a.dtype == b.dtype and np.array_equal(a, b))
    if isinstance(a, TrustedKeys):
        return a.to_json() == b.to_json()
    if dataclasses.is_dataclass(a):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, Mapping):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b) and type(a) is type(b)


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(Evidence)])
def test_every_field_of_the_evidence_survives(store: MemoryStore, name: str) -> None:
    """A field that is added to `Evidence` is tested here by itself."""
    value = Filler()(get_type_hints(Evidence)[name])
    evidence = Evidence(**{name: value})
    assert not same(getattr(Evidence(), name), value), f"{name} was not filled"
    read, basis = thaw(store, freeze(store, evidence, BASIS))
    assert same(read, evidence), f"{name}: {getattr(read, name)!r}, was {value!r}"
    assert basis == BASIS


def test_nothing_measured_survives_too_and_the_digest_is_stable(store: MemoryStore) -> None:
    digest = freeze(store, Evidence(), BASIS)
    assert same(thaw(store, digest)[0], Evidence())
    assert freeze(MemoryStore(), Evidence(), BASIS) == digest
    assert freeze(store, Evidence(version=1), BASIS) != digest


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_measure_that_is_no_number_stays_none(store: MemoryStore, value: float) -> None:
    read, _ = thaw(store, freeze(store, Evidence(latency_ms={"p50": value}, memory_mb=value), BASIS))
    assert str(read.latency_ms["p50"]) == str(read.memory_mb) == str(value)


def test_a_type_that_cannot_be_read_back_is_refused() -> None:
    for hint, value in ((object, object()), (dict[float, int], {0.5: 1}), (set[int], {1}), (Callable[[], int], int)):
        with pytest.raises(TypeError, match="cannot be frozen"):
            encode(MemoryStore(), value, hint, "evidence.new")


def test_evidence_that_was_changed_or_removed_is_refused(
    store: MemoryStore, classified: Callable[..., RowOutputs]
) -> None:
    digest = freeze(store, Evidence(candidate=classified(), champion=classified(seed=1)), BASIS)
    document = json.loads(store.get(evidence_key(digest)))
    keys = row_keys(document)
    assert len(set(keys)) == 2
    for key in (evidence_key(digest), *keys):
        good = store.get(key)
        for bad in (None, good[:-1], good[:40] + bytes([good[40] ^ 1]) + good[41:], b"{}", b""):
            if bad is None:
                store.delete(key)
            else:
                store.put(key, bad)
            with pytest.raises(SecurityError):
                thaw(store, digest)
        store.put(key, good)
    thaw(store, digest)


def test_evidence_of_before_a_field_was_added_reads_as_if_it_was_not_measured(store: MemoryStore) -> None:
    document = json.loads(store.get(evidence_key(freeze(store, Evidence(memory_mb=3.0), BASIS))))
    del document["evidence"]["baselines"]
    body = canonical_json(document)
    store.create(evidence_key(digest_bytes(body)), body)
    assert same(thaw(store, digest_bytes(body))[0], Evidence(memory_mb=3.0))
    document["evidence"]["of tomorrow"] = 1
    body = canonical_json(document)
    store.create(evidence_key(digest_bytes(body)), body)
    with pytest.raises(SecurityError, match="of tomorrow"):
        thaw(store, digest_bytes(body))
