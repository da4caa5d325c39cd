"""No marker, no checkpoint; the newest that verifies wins."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.fault_points import InjectedFault, arm
from mlratchet.models.training.checkpoint import (
    Checkpoint,
    model_tensors,
    newest_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    write_checkpoint,
)
from torch import nn


def checkpoint(step: int, fill: float = 0.0, **changes: Any) -> Checkpoint:
    facts: dict[str, Any] = {
        "step": step,
        "epochs_done": step,
        "history": [{"epoch": step, "train_loss": 1.0}],
        "model": {"w": torch.full((3,), fill)},
        "optimizer": {"0.step": torch.tensor(float(step))},
    }
    return Checkpoint(**{**facts, **changes})


def test_a_checkpoint_reads_back(store: MemoryStore) -> None:
    write_checkpoint(store, "w", 1, checkpoint(5, fill=2.5))
    found = newest_checkpoint(store, "w", up_to_epoch=1)
    assert found is not None
    assert (found.step, found.epochs_done, found.history) == (5, 5, [{"epoch": 5, "train_loss": 1.0}])
    assert torch.equal(found.model["w"], torch.full((3,), 2.5))
    assert newest_checkpoint(store, "other", up_to_epoch=9) is None


def test_the_most_steps_win_over_the_newest_attempt(store: MemoryStore) -> None:
    write_checkpoint(store, "w", 1, checkpoint(7))
    write_checkpoint(store, "w", 2, checkpoint(3))
    found = newest_checkpoint(store, "w", up_to_epoch=2)
    assert found is not None
    assert found.step == 7


def test_a_later_attempts_checkpoints_are_not_read_by_an_earlier_one(store: MemoryStore) -> None:
    write_checkpoint(store, "w", 1, checkpoint(2))
    write_checkpoint(store, "w", 2, checkpoint(9))
    found = newest_checkpoint(store, "w", up_to_epoch=1)
    assert found is not None
    assert found.step == 2


@pytest.mark.parametrize("point", ["checkpoint.after_model", "checkpoint.after_optimizer"])
def test_a_checkpoint_that_was_cut_off_before_its_marker_does_not_exist(store: MemoryStore, point: str) -> None:
    write_checkpoint(store, "w", 1, checkpoint(1))
    arm(point, "raise")
    with pytest.raises(InjectedFault):
        write_checkpoint(store, "w", 1, checkpoint(2, fill=1.0))
    found = newest_checkpoint(store, "w", up_to_epoch=1)
    assert found is not None
    assert found.step == 1
    write_checkpoint(store, "w", 1, checkpoint(2, fill=1.0))
    found = newest_checkpoint(store, "w", up_to_epoch=1)
    assert found is not None
    assert found.step == 2


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
    found = newest_checkpoint(store, "w", up_to_epoch=1)
    assert found is not None
    assert found.step == 1


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD])
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
    restore_optimizer(second, optimizer_tensors(first))
    steps(second_module, second, 3)
    assert torch.equal(whole.weight, second_module.weight)
