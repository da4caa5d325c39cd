"""Tables learn whatever the units of their columns; what is fitted is of training rows, and stays with the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.config import WorkloadRef
from mlratchet.models.data.config import DataConfig, SourceConfig
from mlratchet.models.data.dataset import load_dataset
from mlratchet.models.data.preprocess import write_dataset
from mlratchet.models.data.shards import load_split
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.fault_points import InjectedFault, arm
from mlratchet.models.sources.record import Record
from mlratchet.models.tensors.batch import export_program
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.job import TrainingError, TrainJob
from mlratchet.models.training.loop import Trainer
from mlratchet.models.workloads.base import MEAN, SCALE
from mlratchet.models.workloads.loading import load_workload
from mlratchet.models.workloads.standardise import LARGEST, TARGET_MEAN, TARGET_SCALE, moments
from mlratchet.models.workloads.tabular import TableClassifier, TableRegressor
from safetensors.torch import save
from sklearn.datasets import load_diabetes, load_wine
from torch import nn

TABLES = "mlratchet.models.workloads.tabular"
CLASSES = {"classes": ["0", "1", "2"]}
Make = Callable[..., Trainer]


@pytest.fixture
def trained(raw: MemoryStore, store: MemoryStore) -> Make:
    """Trains a table; `columns` are its names in order."""
    raw.put("t/rows.csv", b"x")
    snapshot = take_snapshot(raw, store, prefix="t/")

    def make(
        x: Any, y: Any, use: str = f"{TABLES}:TableClassifier", *, work_key: str = "w", epoch: int = 1,
        parent: bytes | None = None, parent_columns: tuple[str, ...] = (), parameters: dict[str, Any] | None = None,
        **train: Any,
    ) -> Trainer:  # fmt: skip
        names = [f"c{at}" for at in range(x.shape[1])]
        given = {"columns": names, **(CLASSES if "Classifier" in use else {}), **(parameters or {})}
        ref = WorkloadRef(use=use, parameters=given)
        records = [
            Record(id=f"r{at}", x=row.astype(np.float32), y=value.item(), content_sha256=str(at))
            for at, (row, value) in enumerate(zip(x, y, strict=True))
        ]
        dataset = write_dataset(store, snapshot, records, work_key, ref, DataConfig(), SourceConfig(prefix="t/")).id
        if parent is not None:
            store.put("parent", parent)
        job = TrainJob(
            work_key=work_key, epoch=epoch, dataset_id=dataset, workload=ref, train=TrainConfig.model_validate(train),
            processes=1, scratch=".", parent_weights_key="parent" if parent is not None else None,
            parent_columns=parent_columns,
        )  # fmt: skip
        trainer = Trainer(job, store, rank=0, world=1, device=torch.device("cpu"))
        trainer.run()
        return trainer

    return make


def test_wine_is_learnt_out_of_the_box(trained: Make) -> None:
    x, y = load_wine(return_X_y=True)
    options: dict[str, Any] = {"epochs": 30, "optimizer": {"learning_rate": 0.01}}
    scaled = trained(x, y, work_key="scaled", **options).history[-1]["validation_accuracy"]
    raw = trained(x, y, work_key="raw", parameters={"standardise": False}, **options)
    assert scaled > 0.95
    assert scaled > raw.history[-1]["validation_accuracy"] + 0.1


def test_a_number_is_learnt_whatever_its_unit(trained: Make) -> None:
    x, y = load_diabetes(return_X_y=True)
    options: dict[str, Any] = {"epochs": 20, "optimizer": {"learning_rate": 0.01}}
    for unit in (1.0, 1e5, 1e-4):
        found = trained(x, y * unit, f"{TABLES}:TableRegressor", work_key=f"{unit}", **options)
        last = found.history[-1]
        assert last["validation_r2"] > 0.3
        assert 40 * unit < last["validation_rmse"] < 70 * unit  # in the unit of the target
        assert last["train_loss"] == pytest.approx(last["validation_rmse"] ** 2, rel=0.5)


def test_what_is_fitted_is_of_the_training_rows_alone_and_stays_to_the_last_bit(
    trained: Make, store: MemoryStore
) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(3, 7, (300, 2)) * [1.0, 1e4]
    found = trained(x, (x[:, 0] > 3).astype(int), epochs=2, parameters={"classes": ["no", "yes"]})
    rows = load_split(store, load_dataset(store, found.job.dataset_id), "train").x.array.astype(np.float64)
    assert len(rows) < 300
    state = found.module.state_dict()
    assert torch.equal(state[MEAN], torch.from_numpy(rows.mean(axis=0)).float())
    assert torch.allclose(state[SCALE], torch.from_numpy(rows.std(axis=0)).float(), rtol=1e-6)
    assert torch.equal(found.final_tensors()[MEAN], state[MEAN])


def test_names_stay_and_the_exported_program_takes_raw_rows(trained: Make) -> None:
    x, y = load_diabetes(return_X_y=True)
    found = trained(x * 1000, y, f"{TABLES}:TableRegressor", epochs=2, parameters={"standardise": ["c0"]})
    plain = {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert {name for name, _ in found.module.named_parameters()} == plain
    final = found.settle()
    assert set(final) == plain | {MEAN, SCALE, TARGET_MEAN, TARGET_SCALE}
    assert (final[SCALE] == 1).sum() == x.shape[1] - 1  # the others are as they are
    fresh = found.workload.prepared_model()
    fresh.load_state_dict(final)
    rows = torch.from_numpy(x[:5] * 1000).float()
    answers = export_program(fresh.eval(), rows, ()).module()(rows)
    assert torch.equal(answers, found.module.eval()(rows))
    assert 50 < float(answers.mean()) < 250
    found.workload.standardise = False  # type: ignore[attr-defined]  # a table's
    assert set(found.workload.prepared_model().state_dict()) == plain


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_a_resume_is_the_same_training(trained: Make, mode: str) -> None:
    x, y = load_wine(return_X_y=True)
    options: dict[str, Any] = {"epochs": 3, "mode": mode, "checkpoint": {"every_steps": 2}, "global_batch_size": 32}
    whole = trained(x, y, work_key="whole", **options).final_tensors()
    arm("checkpoint.after_marker", "raise")
    with pytest.raises(InjectedFault):
        trained(x, y, work_key="cut", **options)
    again = trained(x, y, work_key="cut", epoch=2, **options).final_tensors()
    assert all(torch.equal(tensor, again[name]) for name, tensor in whole.items())


STILL = {"epochs": 1, "optimizer": {"learning_rate": 1e-12, "weight_decay": 0.0}}


def test_a_warm_start_keeps_its_parents_scale_by_the_name_of_the_column(trained: Make) -> None:
    x, y = load_wine(return_X_y=True)
    parent = trained(x, y, work_key="parent", epochs=5)
    weights = save(parent.settle())
    moved = [3, 0, 7]  # c0 is the parent's c3
    columns = [f"c{at}" for at in moved]
    child = trained(
        x[:, moved] * 2.0, y, work_key="child", parent=weights, parent_columns=tuple(f"c{at}" for at in range(13)),
        parameters={"columns": [*columns]}, **STILL,
    )  # fmt: skip
    theirs, ours = parent.module.state_dict(), child.module.state_dict()
    assert torch.equal(ours[MEAN], theirs[MEAN][moved])
    assert torch.equal(ours[SCALE], theirs[SCALE][moved])
    torch.testing.assert_close(ours["0.weight"], theirs["0.weight"][:, moved], rtol=0, atol=1e-6)


def test_a_parent_of_raw_columns_goes_on_with_them_and_new_ones_are_fitted(trained: Make) -> None:
    x, y = load_wine(return_X_y=True)
    parent = trained(x[:, :2], y, work_key="parent", epochs=2, parameters={"standardise": False})
    child = trained(
        x[:, :3], y, work_key="child", parent=save(parent.settle()), parent_columns=("c0", "c1"), **STILL
    )  # fmt: skip
    state = child.module.state_dict()
    assert state[MEAN][:2].tolist() == [0, 0]
    assert state[SCALE][:2].tolist() == [1, 1]
    assert abs(float(state[MEAN][2]) - x[:, 2].mean()) < 0.2
    with pytest.raises(TrainingError, match="leave workload"):
        trained(
            x[:, :3], y, work_key="off", parent=save(child.settle()), parameters={"standardise": False}, **STILL
        )  # fmt: skip


class OwnLoss(TableRegressor):
    def loss(self, output: torch.Tensor, target: torch.Tensor, *, label_smoothing: float) -> torch.Tensor:
        return nn.functional.poisson_nll_loss(output.reshape(-1), target)


class Off(TableClassifier):
    standardise = False


@pytest.mark.parametrize(
    ("workload", "kept"),
    [
        (TableRegressor(columns=["a"]), {MEAN, SCALE, TARGET_MEAN, TARGET_SCALE}),
        (OwnLoss(columns=["a"]), {MEAN, SCALE}),
        (load_workload("docs.examples.counts.visits:VisitCounts", {"columns": ["a"]}), {MEAN, SCALE}),
        (load_workload(f"{TABLES}:TableRanker", {"columns": ["a"]}), {MEAN, SCALE}),
        (Off(columns=["a"], classes=["x", "y"]), set()),
        (Off(columns=["a"], classes=["x", "y"], standardise=True), {MEAN, SCALE}),
    ],
)
def test_the_target_is_scaled_where_the_output_is_a_number_in_its_unit(workload: Any, kept: set[str]) -> None:
    names = set(workload.prepared_model().state_dict())
    assert {name for name in names if name.startswith("standardise_")} == kept


def test_a_column_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="standardise names 'b'"):
        TableClassifier(columns=["a"], classes=["x", "y"], standardise=["b"])


FINITE = st.floats(-(2.0**100), 2.0**100, width=32)


@given(arrays(np.float32, st.tuples(st.integers(1, 20), st.integers(1, 4)), elements=FINITE))
def test_scaled_columns_are_finite_and_have_the_moments_that_they_should(x: np.ndarray[Any, Any]) -> None:
    mean, scale = moments(x)
    scaled = (x.astype(np.float64) - mean) / scale
    assert np.isfinite(scaled).all()
    assert (scale > 0).all()
    spread = x.astype(np.float64).std(axis=0) > 1e-6 * np.abs(x.astype(np.float64)).max(axis=0)
    spread &= x.astype(np.float64).std(axis=0) >= np.finfo(np.float32).tiny  # smaller ones lose digits in the model
    np.testing.assert_allclose(scaled.std(axis=0)[spread], 1.0, rtol=1e-6)


def test_columns_at_the_edge_of_what_float32_holds_are_left_alone() -> None:
    x = np.asarray([[1e38, 5.0, 1e-30], [-3e38, 5.0, 3e-30]], dtype=np.float32)
    mean, scale = moments(x)
    assert (mean[0], scale[0]) == (0.0, 1.0)
    assert abs(x[1, 0]) > LARGEST
    assert (mean[1], scale[1]) == (5.0, 1.0)
    assert scale[2] == pytest.approx(1e-30)


def test_a_scale_that_float32_holds_as_zero_is_that_of_a_constant_column() -> None:
    x = np.zeros((10_000, 1), dtype=np.float32)
    x[0] = 1.4e-45
    mean, scale = moments(x)
    assert np.isfinite((x - mean.astype(np.float32)) / scale.astype(np.float32)).all()
