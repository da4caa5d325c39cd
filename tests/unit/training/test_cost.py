"""The cost of a training counts the attempts that were killed."""

from __future__ import annotations

import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.identity.claim import take_claim
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.cost import training_cost
from mlratchet.models.training.result import TrainResult


def result(epoch: int, **more: object) -> TrainResult:
    facts = {"weights_key": f"work/k/e{epoch:06d}/weights-a.safetensors", "weights_sha256": "a", "history": (),
             "steps": 40, "resumed_from_step": 0, "seconds": 10.0, **more}  # fmt: skip
    return TrainResult.model_validate(facts)


def test_one_attempt_costs_its_own_seconds_times_the_cores_it_held(store: MemoryStore) -> None:
    take_claim(store, "k", parent_version=None, owner="o", now_s=0.0)
    store.put("work/k/e000001/result.json", b"{}")
    train = TrainConfig(global_batch_size=32, threads_per_process=3)
    assert training_cost(store, "k", result(1, processes=2), train) == {
        "train_seconds": 10.0, "core_seconds": 60.0, "steps": 40.0, "rows_seen": 1280.0, "attempts": 1.0,
    }  # fmt: skip
    gpu = training_cost(store, "k", result(1, processes=2, device="cuda"), train)
    assert gpu["gpu_seconds"] == 20.0


def test_a_killed_attempt_costs_from_its_claim_to_the_last_thing_it_wrote(store: MemoryStore) -> None:
    for key in ("work/k/e000001/checkpoints/1.json", "work/k/e000002/result.json"):
        store.put(key, b"{}")
    wrote_s = store.head("work/k/e000001/checkpoints/1.json").modified_s
    take_claim(store, "k", parent_version=None, owner="o", now_s=wrote_s - 7.5)
    take_claim(store, "k", parent_version=None, owner="o", now_s=wrote_s)
    take_claim(store, "k", parent_version=None, owner="o", now_s=wrote_s)  # found the result: it wrote nothing
    cost = training_cost(store, "k", result(2), TrainConfig())
    assert cost["train_seconds"] == pytest.approx(17.5)
    assert cost["attempts"] == 2.0
