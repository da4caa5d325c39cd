"""The loop of one rank, in this process: it learns, resumes exactly, and stops with a reason."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.artifact.weights import initial_weights_key
from mlratchet.models.config import WorkloadRef
from mlratchet.models.data.config import DataConfig, SourceConfig
from mlratchet.models.data.preprocess import write_dataset
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.errors import ConfigurationError, DataError
from mlratchet.models.fault_points import InjectedFault, arm
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.identity.claim import take_claim
from mlratchet.models.sources.record import Record
from mlratchet.models.training import observers
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.job import PreemptedError, StaleAttemptError, TrainingError, TrainJob
from mlratchet.models.training.observers import Surroundings
from mlratchet.models.training.result import TrainResult, find_result
from mlratchet.models.training.run import run_training
from mlratchet.models.training.warm_start import match_tensors
from mlratchet.models.workloads.loading import load_workload
from mlratchet.models.workloads.tabular import TableClassifier
from safetensors.torch import load, save

from tests.left_out import most_slow

WORKLOAD = WorkloadRef(
    use="mlratchet.models.workloads.tabular:TableClassifier",
    parameters={"columns": ["a", "b", "c"], "classes": ["0", "1"], "hidden": 8},
)
Train = Callable[..., TrainResult]


@pytest.fixture
def dataset(raw: MemoryStore, store: MemoryStore) -> str:
    """300 rows that two linear layers can tell apart."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3)).astype(np.float32)
    raw.put("t/rows.csv", b"x")
    records = [Record(id=f"r{i}", x=row, y=int(row.sum() > 0), content_sha256=str(i)) for i, row in enumerate(x)]
    snapshot = take_snapshot(raw, store, prefix="t/")
    manifest = write_dataset(
        store, snapshot, records, "code", WORKLOAD, DataConfig(), SourceConfig(prefix="t/"), class_names=("0", "1")
    )
    return manifest.id


@pytest.fixture
def train(store: MemoryStore, dataset: str, tmp_path: Any) -> Train:
    def make(epoch: int = 1, work_key: str = "w", events: list[Any] | None = None, **changes: Any) -> TrainResult:
        parent = changes.pop("parent", (None, None))
        surroundings = changes.pop("surroundings", {})
        workload = changes.pop("workload", WORKLOAD)
        options = {
            "epochs": 6, "global_batch_size": 32, "optimizer": {"learning_rate": 0.05},
            "checkpoint": {"every_steps": 4}, **changes,
        }  # fmt: skip
        job = TrainJob(
            work_key=work_key, epoch=epoch, dataset_id=dataset, workload=workload,
            train=TrainConfig.model_validate(options), processes=1, scratch=str(tmp_path),
            parent_weights_key=parent[0], parent_weights_sha256=parent[1],
        )  # fmt: skip
        around = Surroundings(emit=events.append if events is not None else (lambda event: None), **surroundings)
        result = run_training(job, store, rank=0, world=1, device=torch.device("cpu"), around=around)
        assert result is not None
        return result

    return make


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd", "adagrad", "rmsprop"])
@pytest.mark.parametrize("schedule", most_slow(["cosine", "constant", "step", "one_cycle"], keep=1))
def test_it_learns(train: Train, optimizer: str, schedule: str) -> None:
    result = train(
        optimizer={"name": optimizer, "learning_rate": 0.02 if optimizer == "rmsprop" else 0.1},
        schedule={"name": schedule},
    )
    assert result.history[-1]["validation_accuracy"] > 0.85
    assert result.history[-1]["train_loss"] < result.history[0]["train_loss"]
    assert len(result.history) == 6


def test_the_same_seed_gives_the_same_weights_and_another_does_not(train: Train) -> None:
    assert train(work_key="a").weights_sha256 == train(work_key="b").weights_sha256
    assert train(work_key="a").weights_sha256 != train(work_key="c", seed=5).weights_sha256


@pytest.mark.parametrize("point", ["checkpoint.after_part", "checkpoint.before_marker", "checkpoint.after_marker"])
def test_an_interrupted_training_ends_with_the_weights_of_an_uninterrupted_one(train: Train, point: str) -> None:
    whole = train(work_key="whole")
    arm(point, "raise")
    with pytest.raises(InjectedFault):
        train(work_key="cut", epoch=1)
    events: list[Any] = []
    resumed = train(work_key="cut", epoch=2, events=events)
    assert resumed.weights_sha256 == whole.weights_sha256
    assert (resumed.resumed_from_step > 0) is (point == "checkpoint.after_marker")
    assert [event["epoch"] for event in events if event["event"] == "epoch"] == [
        1,
        2,
        3,
        4,
        5,
        6,
    ]  # a listener that lost some is whole again


def test_a_finished_training_is_found_again(train: Train, store: MemoryStore) -> None:
    result = train()
    assert find_result(store, "w") == result
    assert find_result(store, "other") is None
    weights = load(store.get(result.weights_key, sha256=result.weights_sha256))
    scales = {"standardise_mean", "standardise_scale"}  # a table's
    assert set(weights) == {"0.weight", "0.bias", "2.weight", "2.bias", *scales}


def test_an_attempt_that_was_overtaken_may_not_write(train: Train, store: MemoryStore) -> None:
    for _ in range(2):
        take_claim(store, "w", parent_version=None, owner="me", now_s=0.0)
    with pytest.raises(StaleAttemptError, match="overtaken by attempt 2"):
        train(epoch=1)
    assert find_result(store, "w") is None
    assert train(epoch=2).steps > 0


def publish(store: MemoryStore, module: torch.nn.Module) -> tuple[str, str]:
    data = save(dict(module.state_dict()))
    key = initial_weights_key(digest_bytes(data))
    store.put(key, data)
    return key, digest_bytes(data)


def test_a_warm_start_begins_from_the_parents_weights(train: Train, store: MemoryStore) -> None:
    parent = train(work_key="parent", epochs=10)
    warm = train(
        work_key="child",
        epochs=1,
        optimizer={"learning_rate": 1e-6},
        parent=(parent.weights_key, parent.weights_sha256),
    )
    cold = train(work_key="cold", epochs=1, optimizer={"learning_rate": 1e-6})
    assert warm.history[0]["validation_accuracy"] > 0.85
    assert warm.history[0]["train_loss"] < cold.history[0]["train_loss"]


def test_a_changed_structure_takes_what_fits_and_refuses_when_nothing_does(train: Train, store: MemoryStore) -> None:
    wider = load_workload(WORKLOAD.use, {**WORKLOAD.parameters, "classes": ["0", "1", "2"]}).build_model()
    assert train(parent=publish(store, wider)).steps > 0  # the first layer fits, the head is new
    with pytest.raises(TrainingError, match="none of the 2 tensors"):
        train(work_key="v", parent=publish(store, torch.nn.Linear(99, 1)))


def test_a_loss_that_is_not_finite_names_the_step_and_keeps_the_last_checkpoint(train: Train) -> None:
    with pytest.raises(
        TrainingError, match=r"loss or gradient is (nan|inf) at step \d+ .* lower train.optimizer.learning_rate"
    ):
        train(
            optimizer={"name": "sgd", "learning_rate": 1e30, "momentum": 0.0, "weight_decay": 0.0},
            schedule={"name": "constant", "warmup_fraction": 0.0},
            clip_norm=None,
        )


def test_fewer_rows_than_processes_is_a_data_error(store: MemoryStore, dataset: str, tmp_path: Any) -> None:
    job = TrainJob(
        work_key="w", epoch=1, dataset_id=dataset, workload=WORKLOAD,
        train=TrainConfig(mode="fast", global_batch_size=1000), processes=1000, scratch=str(tmp_path),
    )  # fmt: skip
    with pytest.raises(DataError, match="training rows are fewer than 1000 processes need"):
        run_training(job, store, rank=0, world=1000, device=torch.device("cpu"), around=Surroundings())


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": "fast"},
        {"accumulation": 3},
        {"ema_decay": 0.9},
        {"class_weights": "balanced", "label_smoothing": 0.1},
        {"precision": "bf16"},
        {"early_stopping": {"patience_epochs": 3}},
        pytest.param({"loader_workers": 1, "epochs": 2}, marks=pytest.mark.slow),
    ],
    ids=lambda changes: "-".join(changes),
)
def test_every_switch_learns_and_resumes_to_the_same_weights(train: Train, changes: dict[str, Any]) -> None:
    whole = train(work_key="whole", **changes)
    arm("checkpoint.after_marker", "raise")
    with pytest.raises(InjectedFault):
        train(work_key="cut", epoch=1, **changes)
    resumed = train(work_key="cut", epoch=2, **changes)
    assert 0 < resumed.resumed_from_step < whole.steps
    assert resumed.weights_sha256 == whole.weights_sha256
    assert resumed.history[-1]["train_loss"] == whole.history[-1]["train_loss"]  # of an epoch that was cut in two
    assert whole.history[-1]["validation_accuracy"] > 0.7


def test_asked_to_leave_it_saves_this_very_step(train: Train, store: MemoryStore) -> None:
    whole = train(work_key="whole")
    calls = iter(range(1000))
    with pytest.raises(PreemptedError, match="stopped at step 11 of"):
        train(work_key="cut", surroundings={"stop_requested": lambda: next(calls) >= 10})
    resumed = train(work_key="cut", epoch=2)
    assert resumed.resumed_from_step == 11
    assert resumed.weights_sha256 == whole.weights_sha256


@pytest.mark.parametrize("metric", ["accuracy", "recall_class_1"])
def test_early_stopping_publishes_the_best_epoch(train: Train, metric: str) -> None:
    result = train(epochs=60, early_stopping={"metric": metric, "patience_epochs": 4}, optimizer={"learning_rate": 0.2})
    values = [entry[f"validation_{metric}"] for entry in result.history]
    assert len(values) < 60
    assert values.index(max(values)) == len(values) - 5


def test_frozen_parameters_stay_and_groups_have_their_own_rate(train: Train, store: MemoryStore) -> None:
    parent = train(work_key="parent", epochs=2)
    child = train(
        work_key="child",
        parent=(parent.weights_key, parent.weights_sha256),
        optimizer={"learning_rate": 0.05, "groups": [{"match": "0.*", "learning_rate_factor": 0.0}]},
    )
    before, after = (load(store.get(r.weights_key)) for r in (parent, child))
    assert torch.equal(before["0.weight"], after["0.weight"])
    assert not torch.equal(before["2.weight"], after["2.weight"])
    with pytest.raises(ConfigurationError, match="no parameter is left for 'head"):
        train(work_key="bad", optimizer={"groups": [{"match": "head.*"}]})


def test_a_head_with_more_classes_keeps_the_rows_of_the_old_ones() -> None:
    old = {"head.weight": torch.ones(2, 3), "body": torch.ones(3), "gone": torch.ones(1)}
    new = {"head.weight": torch.zeros(3, 3), "body": torch.zeros(3), "extra": torch.zeros(2, 2)}
    merged, report = match_tensors(new, old)
    assert merged["head.weight"].tolist() == [[1.0] * 3, [1.0] * 3, [0.0] * 3]
    assert (report.taken, report.reshaped, report.new, report.left) == (
        ("body",), ("head.weight",), ("extra",), ("gone",),
    )  # fmt: skip
    assert report.line() == "1 tensors taken; reshaped: head.weight; new: extra; left: gone"


@pytest.mark.parametrize("late_s", [0.0, 0.05])
def test_the_steps_are_reported_with_their_parts(train: Train, monkeypatch: pytest.MonkeyPatch, late_s: float) -> None:
    """Each is told of the same steps by a clock of its own; a busy machine is late between the starts of the two."""
    process = psutil.Process()
    monkeypatch.setattr(observers.psutil, "Process", lambda: (time.sleep(late_s), process)[1])
    events: list[Any] = []
    train(events=events)
    steps = [event for event in events if event["event"] == "step"]
    assert steps[-1]["step"] == steps[-1]["of"]
    for event in steps:
        parts = [event[f"step_{part}_ms"] for part in ("data", "forward_backward", "communication", "optimizer")]
        assert 0 < sum(parts) <= event["step_total_ms"] * (1 + 1e-9)
    assert {"histograms", "predictions", "note"} <= {event["event"] for event in events}


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_the_use_of_a_device_is_what_its_arithmetic_takes_of_a_known_peak(
    train: Train, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    plain = train(work_key="plain", mode=mode)
    monkeypatch.setattr("mlratchet.models.training.observers.peak_flops", lambda device: 1e9)
    events: list[Any] = []
    assert train(work_key="counted", mode=mode, events=events).weights_sha256 == plain.weights_sha256
    for event in (event for event in events if event["event"] == "step"):
        # 3 -> 8 -> 2: twice the weights forward, as much for their gradients, and that of the second layer's input
        flops_per_row = 2 * (24 + 16) + 2 * (24 + 16) + 2 * 16
        assert event["mfu"] == pytest.approx(flops_per_row * event["rows_per_second"] / 1e9)


class Hungry(torch.nn.Module):
    """Asks for more memory than there is."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros(2**41, 128)[: len(x), :2]  # more than 47 bits can address


def test_out_of_memory_says_what_to_change(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        TableClassifier, "build_model", lambda self: torch.nn.Sequential(torch.nn.Linear(3, 2), Hungry())
    )
    with pytest.raises(
        TrainingError, match=r"out of memory .* 8 rows at a time; raise train.accumulation \(now 1\) to 2"
    ):
        train()


def test_a_step_that_is_not_finite_can_be_left_out(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(10_000))

    def sometimes(self: Any, output: torch.Tensor, target: torch.Tensor, *, label_smoothing: float) -> torch.Tensor:
        loss = torch.nn.functional.cross_entropy(output, target)
        return loss * float("nan") if next(calls) in (8, 60) else loss

    monkeypatch.setattr(TableClassifier, "loss", sometimes)
    events: list[Any] = []
    result = train(on_nan="skip", events=events)
    notes = [event["text"] for event in events if event["event"] == "note"]
    assert sum("skipped: not finite" in text for text in notes) == 2
    assert result.history[-1]["validation_accuracy"] > 0.85


def test_the_profiler_leaves_a_trace(train: Train, tmp_path: Any) -> None:
    file = tmp_path / "trace.json"
    train(epochs=1, profile={"start_step": 2, "steps": 2}, surroundings={"profile_file": str(file)})
    names = {event.get("name") for event in json.loads(file.read_text())["traceEvents"]}
    assert "aten::linear" in names


def test_augmentation_draws_the_same_numbers_after_a_resume(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = train(work_key="plain")

    def noise(self: Any, x: np.ndarray[Any, Any], rng: np.random.Generator) -> np.ndarray[Any, Any]:
        return x + rng.normal(0, 0.1, x.shape).astype(np.float32)

    monkeypatch.setattr(TableClassifier, "augment", noise)
    whole = train(work_key="whole")
    assert whole.weights_sha256 != plain.weights_sha256
    arm("checkpoint.after_marker", "raise")
    with pytest.raises(InjectedFault):
        train(work_key="cut", epoch=1)
    assert train(work_key="cut", epoch=2).weights_sha256 == whole.weights_sha256


def test_a_checkpoint_of_other_hardware_is_refused_in_exact_mode(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    arm("checkpoint.after_marker", "raise")
    with pytest.raises(InjectedFault):
        train(epoch=1)
    monkeypatch.setattr("mlratchet.models.training.state.hardware_kind", lambda device, config: "cpu/other")
    with pytest.raises(TrainingError, match=r"was written on cpu/.* and this machine is cpu/other: mode exact cannot"):
        train(epoch=2)


def test_an_epoch_of_which_every_step_was_left_out_ends_the_run_with_that_reason(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fewer steps than may be skipped in a row: nothing else would end it, and nothing was learnt."""

    def never(self: Any, output: torch.Tensor, target: torch.Tensor, *, label_smoothing: float) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(output, target) * float("nan")

    monkeypatch.setattr(TableClassifier, "loss", never)
    for mode in ("exact", "fast"):
        with pytest.raises(TrainingError, match=r"on_nan: skip left out all \d steps of epoch 1: nothing was learnt"):
            train(on_nan="skip", mode=mode, work_key=mode)


class Raising(torch.nn.Module):
    """A mistake that shows at some batches alone."""

    def __init__(self, error: Exception, rows: int) -> None:
        super().__init__()
        self.layer, self.error, self.rows = torch.nn.Linear(3, 2), error, rows

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) == self.rows:
            raise self.error
        output: torch.Tensor = self.layer(x)
        return output


@pytest.mark.parametrize("error", [ValueError("no such shape"), RuntimeError("size mismatch"), KeyError("x")])
def test_what_the_users_code_raises_is_theirs_to_mend_with_the_line(
    train: Train, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(TableClassifier, "build_model", lambda self: Raising(error, rows=8))
    with pytest.raises(ConfigurationError, match=rf"tests/unit/training/test_loop.py:\d+: {type(error).__name__}"):
        train()


@pytest.mark.parametrize("words", ["Connection closed by peer [127.0.0.1]:4", "Timed out waiting 60000ms"])
def test_a_rank_that_is_cut_off_while_the_users_code_runs_is_no_mistake_of_theirs(
    train: Train, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.setattr(TableClassifier, "build_model", lambda self: Raising(RuntimeError(words), rows=8))
    with pytest.raises(RuntimeError, match=words.split("[")[0]):
        train()
