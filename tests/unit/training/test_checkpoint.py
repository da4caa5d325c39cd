"""No marker, no checkpoint; the newest that verifies wins."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.fault_points import InjectedFault, arm
from mlratchet.models.ports.storage import StorageError
from mlratchet.models.training.checkpoint import (
    Checkpoint,
    Position,
    model_tensors,
    newest_checkpoint,
)
from mlratchet.models.training.checkpointer import Checkpointer
from mlratchet.models.training.config import CheckpointConfig
from mlratchet.models.training.optimizer_state import optimizer_document, optimizer_tensors, restore_optimizer
from torch import nn


def checkpoint(step: int, fill: float = 0.0) -> Checkpoint:
    return Checkpoint(
        position=Position(step=step, epochs_done=1, history=[{"epoch": 1, "train_loss": 1.0}], sums=[0.1, 2.0]),
        groups={
            "model": {
                "w": torch.full((3,), fill),
                "n": torch.tensor(7),
                "half": torch.ones(2, 3, dtype=torch.bfloat16),
            },
            "optimizer": {"0.step": torch.tensor(float(step))},
        },
    )


def write_checkpoint(
    store: MemoryStore, work_key: str, epoch: int, checkpoint: Checkpoint, *, keep: int = 1000
) -> None:
    """Write one and wait for it. Raises what went wrong."""
    writer = Checkpointer(store, work_key, epoch, CheckpointConfig(keep=keep), refuse_if_stale=lambda: None)
    try:
        writer.save(checkpoint.position, checkpoint.groups)
        if writer._pending is not None:
            writer._pending.result()
    finally:
        writer.close()


def newest_step(store: MemoryStore, up_to_epoch: int = 1) -> int:
    found = newest_checkpoint(store, "w", up_to_epoch=up_to_epoch)
    assert found is not None
    return found.position.step


def test_a_checkpoint_reads_back(store: MemoryStore) -> None:
    write_checkpoint(store, "w", 1, checkpoint(5, fill=2.5))
    found = newest_checkpoint(store, "w", up_to_epoch=1)
    assert found is not None
    assert found.position == checkpoint(5).position
    assert torch.equal(found.groups["model"]["w"], torch.full((3,), 2.5))
    assert found.groups["model"]["n"] == 7
    assert torch.equal(found.groups["model"]["half"], torch.ones(2, 3, dtype=torch.bfloat16))
    assert newest_checkpoint(store, "other", up_to_epoch=9) is None


def test_the_most_steps_win_over_the_newest_attempt(store: MemoryStore) -> None:
    write_checkpoint(store, "w", 1, checkpoint(7))
    write_checkpoint(store, "w", 2, checkpoint(3))
    assert newest_step(store, 2) == 7


def test_a_later_attempts_checkpoints_are_not_read_by_an_earlier_one(store: MemoryStore) -> None:
    write_checkpoint(store, "w", 1, checkpoint(2))
    write_checkpoint(store, "w", 2, checkpoint(9))
    assert newest_step(store, 1) == 2


@pytest.mark.parametrize("point", ["checkpoint.after_part", "checkpoint.before_marker"])
def test_a_checkpoint_that_was_cut_off_before_its_marker_does_not_exist(store: MemoryStore, point: str) -> None:
    write_checkpoint(store, "w", 1, checkpoint(1))
    arm(point, "raise")
    with pytest.raises(InjectedFault):
        write_checkpoint(store, "w", 1, checkpoint(2, fill=1.0))
    assert newest_step(store) == 1
    write_checkpoint(store, "w", 1, checkpoint(2, fill=1.0))
    assert newest_step(store) == 2


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "marker"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(store: MemoryStore, damage: str) -> None:
    write_checkpoint(store, "w", 1, checkpoint(1))
    write_checkpoint(store, "w", 1, checkpoint(2, fill=1.0))
    keys = [info.key for info in store.list("work/w/e000001/checkpoints/000000002/")]
    part = next(key for key in keys if key.endswith(".safetensors"))
    data = bytearray(store.get(part))
    if damage == "flip":
        data[-1] ^= 1
        store.put(part, bytes(data))
    elif damage == "cut":
        store.put(part, bytes(data[:-4]))
    elif damage == "remove":
        store.delete(part)
    else:
        store.put(next(key for key in keys if key.endswith("marker.json")), b"{")
    assert newest_step(store) == 1


def test_the_newest_few_are_kept_and_nothing_of_the_older_ones(store: MemoryStore) -> None:
    for step in range(1, 6):
        write_checkpoint(store, "w", 1, checkpoint(step), keep=2)
    folders = {info.key.split("/")[4] for info in store.list("work/w/e000001/checkpoints/")}
    assert folders == {"000000004", "000000005"}


class SlowStore(MemoryStore):
    """Every write of a part waits for `go`."""

    def __init__(self) -> None:
        super().__init__("slow")
        self.go = threading.Event()
        self.asked = threading.Event()

    def create(self, key: str, data: bytes | bytearray) -> None:
        if key.endswith(".safetensors"):
            self.asked.set()
            assert self.go.wait(120)
        super().create(key, data)


def test_the_step_loop_does_not_wait_for_the_store_and_the_snapshot_is_of_its_step() -> None:
    store = SlowStore()
    weights = {"w": torch.zeros(4)}
    writer = Checkpointer(store, "w", 1, CheckpointConfig(every_steps=1), refuse_if_stale=lambda: None)
    assert writer.due(1)
    writer.save(checkpoint(1).position, {"model": weights, "optimizer": {}})
    weights["w"] += 1.0  # the next step, while the store is still writing
    assert store.asked.wait(120)
    assert not writer.due(2)  # busy: a later step is asked again
    store.go.set()
    writer.wait()
    assert writer.due(2)
    writer.close()
    found = newest_checkpoint(store, "w", up_to_epoch=1)
    assert found is not None
    assert torch.equal(found.groups["model"]["w"], torch.zeros(4))


class FailingStore(MemoryStore):
    """Refuses every write."""

    def create(self, key: str, data: bytes | bytearray) -> None:
        raise StorageError("503")


def test_a_store_that_fails_is_forgiven_twice_in_a_row() -> None:
    writer = Checkpointer(FailingStore("f"), "w", 1, CheckpointConfig(), refuse_if_stale=lambda: None)
    for _ in range(2):
        writer.save(checkpoint(1).position, checkpoint(1).groups)
        writer.wait()
    writer.save(checkpoint(1).position, checkpoint(1).groups)
    with pytest.raises(StorageError, match="503"):
        writer.wait()
    writer.close()


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD, torch.optim.Adagrad, torch.optim.RMSprop])
def test_an_optimizer_goes_on_as_if_nothing_had_happened(kind: Any) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(8, 4), torch.randn(8, 1)
    options = {"momentum": 0.9} if kind is torch.optim.SGD else {}

    def steps(module: nn.Module, optimizer: torch.optim.Optimizer, count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            nn.functional.mse_loss(module(x), y).backward()
            optimizer.step()

    whole = nn.Linear(4, 1)
    halves = nn.Linear(4, 1)
    halves.load_state_dict(whole.state_dict())
    optimizer = kind(whole.parameters(), lr=0.1, **options)
    steps(whole, optimizer, 6)
    first = kind(halves.parameters(), lr=0.1, **options)
    steps(halves, first, 3)
    second_module = nn.Linear(4, 1)
    second_module.load_state_dict(model_tensors(halves))
    second = kind(second_module.parameters(), lr=0.1, **options)
    restore_optimizer(second, optimizer_tensors(first), optimizer_document(first))
    steps(second_module, second, 3)
    assert torch.equal(whole.weight, second_module.weight)
