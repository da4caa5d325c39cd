"""Every task trains through the same loop: more labels per row, and rows ranked within their query."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.artifact.signature import signature_of
from mlratchet.models.data.config import DataConfig, SourceConfig
from mlratchet.models.data.preprocess import read_dataset_records, write_dataset
from mlratchet.models.data.quality import inspect
from mlratchet.models.data.shards import load_split
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.evaluation.plots import evaluation_plots
from mlratchet.models.fault_points import InjectedFault, arm
from mlratchet.models.metrics.rows import RowOutputs, load_rows
from mlratchet.models.pipeline.spec import WorkloadRef
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.sources.record import GROUP_COLUMN
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.job import TrainJob
from mlratchet.models.training.observers import Surroundings
from mlratchet.models.training.result import TrainResult
from mlratchet.models.training.run import run_training
from mlratchet.models.workloads.base import Workload
from mlratchet.models.workloads.loading import load_workload
from safetensors.torch import load

TABULAR = "mlratchet.models.workloads.tabular:"


class Case:
    """A CSV delivery read, trained on and scored, in memory."""

    def __init__(self, store: MemoryStore, raw: MemoryStore, use: str, parameters: dict[str, Any], text: str) -> None:
        self.store, self.ref = store, WorkloadRef(use=TABULAR + use, parameters=parameters)
        self.workload: Workload = load_workload(self.ref.use, parameters)
        self.source = SourceConfig(prefix="t/", group_column="query" if use == "TableRanker" else None)
        raw.put("t/rows.csv", text.encode())
        snapshot = take_snapshot(raw, store, prefix="t/")
        records, self.rejects = read_dataset_records(store, snapshot, self.workload, self.source)
        self.records = list(records)
        self.manifest = write_dataset(
            store, snapshot, self.records, "code", self.ref, DataConfig(), self.source,
            class_names=self.workload.class_names(),
        )  # fmt: skip

    def train(self, work_key: str, epoch: int = 1, events: list[Any] | None = None, **changes: Any) -> TrainResult:
        options = {
            "epochs": 8, "global_batch_size": 32, "optimizer": {"learning_rate": 0.05},
            "checkpoint": {"every_steps": 4}, **changes,
        }  # fmt: skip
        job = TrainJob(
            work_key=work_key, epoch=epoch, dataset_id=self.manifest.id, workload=self.ref,
            train=TrainConfig.model_validate(options), processes=1, scratch=".",
        )  # fmt: skip
        around = Surroundings(emit=events.append if events is not None else lambda event: None)
        result = run_training(job, self.store, rank=0, world=1, device=torch.device("cpu"), around=around)
        assert result is not None
        return result

    def rows(self, result: TrainResult) -> RowOutputs:
        assert result.rows_key is not None
        return load_rows(self.store, result.rows_key)

    def predictor(self, result: TrainResult) -> Predictor:
        module = self.workload.prepared_model()
        module.load_state_dict(load(self.store.get(result.weights_key)))
        return Predictor(version=1, generation=1, signature=signature_of(self.workload), model=module.eval())


@pytest.fixture
def labelled(store: MemoryStore, raw: MemoryStore) -> Case:
    """500 rows with three labels; the third is rare."""
    x = np.random.default_rng(0).normal(size=(500, 3))
    on = np.stack([x[:, 0] > 0, x[:, 1] + x[:, 2] > 0, x[:, 2] > 1.3], axis=1).astype(int)
    rows = [",".join(map(str, [*a, *b])) for a, b in zip(x, on, strict=True)]
    parameters = {"columns": ["a", "b", "c"], "labels": ["warm", "wet", "rare"], "hidden": 16}
    text = "\n".join(["a,b,c,warm,wet,rare", *rows, "1,2,3,0,1,2", "1,2,3,0,1,", ""])
    return Case(store, raw, "TableMultiLabel", parameters, text)


@pytest.fixture
def ranked(store: MemoryStore, raw: MemoryStore) -> Case:
    """120 queries of 1 to 9 rows. A term that is the same for all rows of a query tells nothing about their order."""
    rng = np.random.default_rng(0)
    lines = ["query,a,b,label"]
    for query in range(120):
        x = rng.normal(size=(int(rng.integers(1, 10)), 2))
        grades = np.clip(np.round(x[:, 0] + 1.5), 0, 4).astype(int)
        lines += [f"q{query},{a},{b},{g}" for (a, b), g in zip(x, grades, strict=True)]
    return Case(store, raw, "TableRanker", {"columns": ["a", "b"], "hidden": 8}, "\n".join([*lines, "q1,1,1,-2", ""]))


@pytest.mark.parametrize(
    "changes", [{}, {"mode": "fast"}, {"accumulation": 3}, {"loss": "bce", "label_smoothing": 0.1}]
)
def test_several_labels_are_learned_and_a_resume_ends_with_the_same_weights(
    labelled: Case, changes: dict[str, Any]
) -> None:
    whole = labelled.train("whole", **changes)
    rows = labelled.rows(whole)
    assert rows.y.shape == rows.output.shape == (labelled.manifest.rows["test"], 3)
    assert float(((rows.output > 0) == (rows.y > 0)).mean()) > 0.9
    arm("checkpoint.after_marker", "raise")
    with pytest.raises(InjectedFault):
        labelled.train("cut", **changes)
    assert labelled.train("cut", epoch=2, **changes).weights_sha256 == whole.weights_sha256


def test_balanced_weights_find_more_of_a_rare_label(labelled: Case) -> None:
    def found(result: TrainResult) -> float:
        rows = labelled.rows(result)
        return float((rows.output[:, 2] > 0).mean())

    plain, balanced = labelled.train("plain", epochs=2), labelled.train("balanced", epochs=2, class_weights="balanced")
    assert found(balanced) > found(plain)


def test_label_columns_are_read_counted_and_shown(labelled: Case, store: MemoryStore) -> None:
    assert [reject.code for reject in labelled.rejects] == ["unknown_label", "missing_label"]
    assert "expected 0 or 1 in each of warm, wet, rare" in labelled.rejects[0].reason
    counts = labelled.manifest.target_counts
    assert counts["warm"] == sum(record.y[0] for record in labelled.records)
    assert not {"warm", "wet", "rare"} & set(labelled.records[0].columns)
    again = inspect(store, labelled.records, [], labelled.manifest, DataConfig(), labelled.workload.class_names())
    assert again.measures["relabelled_fraction"].value == 0
    assert again.measures["label_prior_shift"].value == pytest.approx(0)
    assert again.measures["smallest_class_rows"].value == counts["rare"]
    changed = [dataclasses.replace(r, y=(1.0, *r.y[1:])) for r in labelled.records]
    moved = inspect(store, changed, [], labelled.manifest, DataConfig(), labelled.workload.class_names()).measures
    assert moved["relabelled_fraction"].value == pytest.approx(1 - counts["warm"] / len(changed))
    assert moved["label_prior_shift"].value == pytest.approx(1 - counts["warm"] / len(changed))
    events: list[Any] = []
    result = labelled.train("w", epochs=1, events=events)
    shown = next(event for event in events if event["event"] == "predictions")["rows"]
    assert all(set(words.split(", ")) <= {"none", "warm", "wet", "rare"} for _, *texts in shown for words in texts)
    plots = evaluation_plots(
        labelled.rows(result), labelled.workload.objective, labelled.workload.class_names(), history=[]
    )
    assert plots["labels.png"].startswith(b"\x89PNG")


def test_a_client_gets_the_labels_with_their_probabilities(labelled: Case) -> None:
    (answer,) = labelled.predictor(labelled.train("w")).predict(Inputs({"x": np.array([[3, 3, -3]], np.float32)}))
    assert answer["labels"] == [name for name, p in answer["probabilities"].items() if p > 0.5]
    assert answer["probabilities"]["warm"] > 0.9
    assert answer["probabilities"]["rare"] < 0.1


def pairs_in_order(rows: RowOutputs) -> float:
    """Share of pairs of a query, one more relevant than the other, that the scores put in order."""
    query = np.asarray(rows.columns[GROUP_COLUMN])
    same = query[:, None] == query[None, :]
    better = same & (rows.y[:, None] > rows.y[None, :])
    return float((rows.output[:, None] > rows.output[None, :])[better].mean())


@pytest.mark.parametrize("changes", [{}, {"loss": "pairwise"}, {"mode": "fast"}, {"accumulation": 4}])
def test_a_ranking_is_learned_and_a_resume_ends_with_the_same_weights(ranked: Case, changes: dict[str, Any]) -> None:
    options = {"global_batch_size": 12, "epochs": 10, **changes}
    whole = ranked.train("whole", **options)
    queries = len(set(load_split(ranked.store, ranked.manifest, "train").columns[GROUP_COLUMN]))
    assert whole.steps in (10 * (queries // 12), 10 * -(-queries // 12))
    assert pairs_in_order(ranked.rows(whole)) > 0.9
    assert whole.history[-1]["validation_loss"] < whole.history[0]["validation_loss"]
    arm("checkpoint.after_marker", "raise")
    with pytest.raises(InjectedFault):
        ranked.train("cut", **options)
    assert ranked.train("cut", epoch=2, **options).weights_sha256 == whole.weights_sha256


def test_a_query_stays_on_one_side_and_a_client_gets_scores(ranked: Case) -> None:
    sides = [set(load_split(ranked.store, ranked.manifest, s).columns[GROUP_COLUMN]) for s in ranked.manifest.splits]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 120
    assert [reject.code for reject in ranked.rejects] == ["unknown_label"]
    result = ranked.train("w", global_batch_size=12)
    high, low = ranked.predictor(result).predict(Inputs({"x": np.array([[2, 0], [-2, 0]], np.float32)}))
    assert high["score"] > low["score"]
    assert "relevance.png" in evaluation_plots(
        ranked.rows(result), ranked.workload.objective, (), history=result.history
    )


def test_a_ranking_without_a_query_column_is_refused(store: MemoryStore, raw: MemoryStore) -> None:
    workload = load_workload(TABULAR + "TableRanker", {"columns": ["a"]})
    with pytest.raises(ConfigurationError, match=r"source\.group_column: a ranking needs"):
        list(workload.records([], lambda _: b"", SourceConfig(prefix="t/").model_dump()))
