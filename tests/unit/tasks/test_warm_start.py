"""What a warm start took is where a person looks for it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.infra.tracking.memory import MemoryTracker
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.pipeline.store import publish_pipeline
from mlratchet.models.training.result import TrainResult, find_result, publish_result
from mlratchet.tasks.steps import train
from mlratchet.tasks.steps.train import show_warm_start
from mlratchet.tasks.support.beginning import refuse_seen_rows


def result(**changes: Any) -> TrainResult:
    about = {"weights_key": "k", "weights_sha256": "s", "steps": 1, "resumed_from_step": 0, "seconds": 1.0}
    return TrainResult(**{**about, "history": ({"epoch": 1},), **changes})


def test_it_is_a_file_in_mlflow_and_a_table_in_prefect(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables: list[Any] = []
    monkeypatch.setattr(train, "show_table", lambda *words: tables.append(words))
    tracker = MemoryTracker(store)
    tracking_run = tracker.open_run("t", work_key="w", flow_run="f", name="n", tags={})
    run: Any = SimpleNamespace(scratch=tmp_path, adapters=SimpleNamespace(tracker=tracker))
    show_warm_start(run, tracking_run, result())
    assert tables == []
    kinds = {"taken": ("body",), "reshaped": ("head.weight",), "new": ("extra",), "left": ("gone",)}
    publish_result(store, "w", 1, result(warm_start="1 tensors taken", warm_start_tensors=kinds))
    found = find_result(store, "w")  # as another process reads it
    assert found is not None
    show_warm_start(run, tracking_run, found)
    ((key, rows, words),) = tables
    assert (key, words) == ("warm-start", "Warm start: 1 tensors taken")
    assert [(row["tensor"], row["what became of it"]) for row in rows] == [
        ("head.weight", "reshaped"), ("extra", "new"), ("gone", "left"), ("body", "taken"),
    ]  # fmt: skip
    assert json.loads((tmp_path / "warm_start.json").read_text()) == {k: list(v) for k, v in kinds.items()}


@pytest.mark.parametrize(
    ("split", "known", "refused"),
    [
        ({}, True, False),
        ({}, False, False),
        ({"salt": "fresh rows"}, True, True),
        ({"test": 0.7}, True, True),
        ({"test": 0.3}, True, False),
    ],
)
def test_a_parent_that_was_trained_on_test_rows_is_refused(
    road: Any, split: dict[str, Any], known: bool, refused: bool
) -> None:
    run = road.run()
    before = road.dataset(run)
    revision = publish_pipeline(road.store, run.spec) if known else "0" * 64
    parent = road.version(None).model_copy(update={"dataset_id": before.id, "revision": revision})
    rule = run.spec.data.split.model_copy(update=split)
    run.spec = run.spec.model_copy(update={"data": run.spec.data.model_copy(update={"split": rule})})
    work = road.work(road.dataset(run, rows=420))
    assert work.dataset_id != before.id
    if not refused:
        refuse_seen_rows(run, work, parent)
        return
    with pytest.raises(ConfigurationError, match=r"version 1 was trained on \d+ of the \d+ test rows"):
        refuse_seen_rows(run, work, parent)


def test_a_parent_whose_rows_had_other_names_is_refused(road: Any) -> None:
    run = road.run()
    parent = road.version(None).model_copy(update={"revision": publish_pipeline(road.store, run.spec)})
    run.spec = run.spec.model_copy(update={"source": run.spec.source.model_copy(update={"id_column": "a"})})
    with pytest.raises(ConfigurationError, match=r"id_column was None when version 1 .* now it is a: .* not known"):
        refuse_seen_rows(run, road.work(road.dataset(run)), parent)


def test_a_parent_whose_rows_are_gone_is_refused_after_another_split(road: Any) -> None:
    run = road.run()
    parent = road.version(None, dataset_id="gone").model_copy(update={"revision": "0" * 64})
    with pytest.raises(ConfigurationError, match=r"which rows it was trained on is not known any more"):
        refuse_seen_rows(run, road.work(road.dataset(run)), parent)
