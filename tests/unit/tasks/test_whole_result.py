"""Weights that are gone are trained again, once: from then on the work goes on with those."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.training.result import TrainResult, publish_result, weights_key
from mlratchet.tasks.steps.train import whole_result


def trained(store: MemoryStore, attempt: int, weights: bytes) -> TrainResult:
    key = weights_key("w", attempt, digest_bytes(weights))
    store.create(key, weights)
    result = TrainResult(
        weights_key=key, weights_sha256=digest_bytes(weights), history=(), steps=attempt, resumed_from_step=0,
        seconds=1.0,
    )  # fmt: skip
    return publish_result(store, "w", attempt, result)


@pytest.mark.parametrize("weights", [b"the same", b"others"])
def test_the_attempt_whose_weights_are_whole_is_taken(store: MemoryStore, weights: bytes) -> None:
    first = trained(store, 1, b"the same")
    run: Any = SimpleNamespace(adapters=SimpleNamespace(store=store))

    def found(version: TrainResult | None) -> TrainResult | None:
        done = SimpleNamespace(weights_key=version.weights_key) if version is not None else None
        work: Any = SimpleNamespace(key="w", done=done)
        return whole_result(run, work)

    assert found(None) == found(first) == first
    store.delete(first.weights_key)
    assert found(None) is None  # to be trained again
    second = trained(store, 2, weights)
    assert found(None) == second
    assert found(second) == second  # its version was not promoted yet: it is evaluated again
