"""A step whose gradient is not finite is left out whole: nothing of it is in what is published or in a checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.config import WorkloadRef
from mlratchet.models.data.config import DataConfig, SourceConfig
from mlratchet.models.data.preprocess import write_dataset
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.fault_points import InjectedFault, arm
from mlratchet.models.sources.record import Record
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.job import TrainingError, TrainJob
from mlratchet.models.training.loop import HALVINGS, MOST_SKIPPED
from mlratchet.models.training.observers import Surroundings
from mlratchet.models.training.result import TrainResult
from mlratchet.models.training.run import run_training
from mlratchet.models.workloads.tabular import TableClassifier
from safetensors.torch import load
from torch import nn

WORKLOAD = WorkloadRef(
    use="mlratchet.models.workloads.tabular:TableClassifier",
    parameters={"columns": ["a", "b", "c"], "classes": ["0", "1"], "hidden": 8},
)
Train = Callable[..., TrainResult]


@pytest.fixture
def train(raw: MemoryStore, store: MemoryStore, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Train:
    """Ten steps an epoch."""
    monkeypatch.setattr("mlratchet.models.training.state.prepare_device", lambda device, config: None)  # fp16 on a CPU
    raw.put("t/rows.csv", b"x")
    x_NF = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    records = [Record(id=f"r{i}", x=row, y=int(row.sum() > 0), content_sha256=str(i)) for i, row in enumerate(x_NF)]
    snapshot = take_snapshot(raw, store, prefix="t/")
    dataset = write_dataset(
        store, snapshot, records, "code", WORKLOAD, DataConfig(), SourceConfig(prefix="t/"), class_names=("0", "1")
    ).id

    def make(events: list[Any] | None = None, *, work_key: str = "w", epoch: int = 1, **changes: Any) -> TrainResult:
        options = {"epochs": 3, "global_batch_size": 16, "optimizer": {"learning_rate": 0.05}, **changes}
        job = TrainJob(
            work_key=work_key, epoch=epoch, dataset_id=dataset, workload=WORKLOAD,
            train=TrainConfig.model_validate(options), processes=1, scratch=str(tmp_path),
        )  # fmt: skip
        around = Surroundings(emit=events.append if events is not None else lambda event: None)
        result = run_training(job, store, rank=0, world=1, device=torch.device("cpu"), around=around)
        assert result is not None
        return result

    return make


class Normalised(nn.Module):
    """Its activations are infinite once, before a BatchNorm that keeps statistics of them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)
        self.asked = 0

    def forward(self, x_BF: torch.Tensor) -> torch.Tensor:
        hidden = self.first(x_BF)
        if self.training and torch.is_grad_enabled():
            self.asked += 1
            hidden = hidden * (torch.inf if self.asked == 15 else 1.0)
        output: torch.Tensor = self.last(torch.relu(self.norm(hidden)))
        return output


@pytest.mark.parametrize("mode", ["exact", "fast"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_statistics_of_a_model_hold_nothing_of_it(
    train: Train, store: MemoryStore, monkeypatch: pytest.MonkeyPatch, mode: str, precision: str
) -> None:
    monkeypatch.setattr(TableClassifier, "build_model", lambda self: Normalised())
    result = train(on_nan="skip", mode=mode, precision=precision)
    weights = load(store.get(result.weights_key))
    assert all(bool(torch.isfinite(tensor).all()) for tensor in weights.values())
    assert result.history[-1]["validation_accuracy"] > 0.8
    assert result.history[-1]["validation_loss"] < 0.6
    # every step that counted: all but that one, and in fp16 those of a scale that was too large
    counted, steps = int(weights["norm.num_batches_tracked"]), result.steps
    assert counted == steps - 1 if precision == "fp32" else steps - 1 - HALVINGS <= counted <= steps - 1


def times(factor: float) -> Any:
    def loss(self: Any, output: torch.Tensor, target: torch.Tensor, *, label_smoothing: float) -> torch.Tensor:
        return nn.functional.cross_entropy(output.float(), target) * factor

    return loss


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_a_checkpoint_is_written_while_the_scale_of_fp16_is_still_too_large(
    train: Train, store: MemoryStore, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(TableClassifier, "loss", times(300.0))  # times 65,536: more than fp16 holds
    result = train(precision="fp16", mode=mode, checkpoint={"every_steps": 1})
    assert result.checkpoints_written > 0
    assert all(np.isfinite(epoch["gradient_norm"]) and epoch["gradient_norm"] > 0 for epoch in result.history)
    assert result.history[-1]["validation_accuracy"] > 0.8


@pytest.mark.parametrize("on_nan", ["stop", "skip"])
def test_a_gradient_that_no_scale_makes_finite_ends_the_training(
    train: Train, monkeypatch: pytest.MonkeyPatch, on_nan: str
) -> None:
    """The loss is finite: nothing else would end it, and nothing was learnt."""

    class Blind(torch.autograd.Function):
        @staticmethod
        def forward(_context: Any, loss: torch.Tensor) -> torch.Tensor:
            return loss.clone()

        @staticmethod
        def backward(_context: Any, slope: torch.Tensor) -> torch.Tensor:
            return slope * torch.nan

    def loss(self: Any, output: torch.Tensor, target: torch.Tensor, *, label_smoothing: float) -> torch.Tensor:
        found: torch.Tensor = Blind.apply(nn.functional.cross_entropy(output.float(), target))
        return found

    monkeypatch.setattr(TableClassifier, "loss", loss)
    with pytest.raises(TrainingError, match=rf"gradient is nan at step {MOST_SKIPPED + HALVINGS} "):
        train(precision="fp16", on_nan=on_nan, epochs=10)


def test_an_epoch_of_which_nothing_is_left_to_learn_after_a_resume_ends_as_it_would_have(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last steps are left out, and the attempt that takes them has seen no other."""
    rows = [0]

    def loss(self: Any, output: torch.Tensor, target: torch.Tensor, *, label_smoothing: float) -> torch.Tensor:
        found = nn.functional.cross_entropy(output.float(), target)
        rows[0] += len(output) if output.requires_grad else 0
        return found * (torch.nan if 40 < rows[0] <= 160 else 1.0)

    monkeypatch.setattr(TableClassifier, "loss", loss)
    options = {"on_nan": "skip", "mode": "fast", "checkpoint": {"every_steps": 4}}
    whole = train(**options)
    arm("checkpoint.after_marker", "raise")
    rows[0] = 0
    with pytest.raises(InjectedFault):
        train(work_key="cut", **options)
    rows[0] = 64
    resumed = train(work_key="cut", epoch=2, **options)
    assert resumed.resumed_from_step == 4
    assert resumed.weights_sha256 == whole.weights_sha256
    assert [one["learning_rate"] for one in resumed.history] == [one["learning_rate"] for one in whole.history]
