"""One contract over every tracker: memory and MLflow."""

from __future__ import annotations

import math
import uuid
from pathlib import Path
from typing import Any

import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.infra.tracking.memory import MemoryTracker
from mlratchet.models.ports.tracker import Tracker


@pytest.fixture(params=["memory", pytest.param("mlflow", marks=pytest.mark.stack)])
def tracker(request: pytest.FixtureRequest) -> Tracker:
    if request.param == "memory":
        return MemoryTracker(MemoryStore("artifacts"))
    found: Tracker = request.getfixturevalue("stack").adapters.tracker
    return found


def open_run(tracker: Tracker, work_key: str, flow_run: str = "f1") -> str:
    return tracker.open_run("contract", work_key=work_key, flow_run=flow_run, name="n", tags={"t": "u"})


def test_a_work_key_has_one_run_that_is_opened_again(tracker: Tracker) -> None:
    key = uuid.uuid4().hex
    first = open_run(tracker, key)
    assert [r.flow_run for r in tracker.running_runs() if r.run_id == first] == ["f1"]
    tracker.end_run(first, status="KILLED")
    assert first not in {r.run_id for r in tracker.running_runs()}
    assert open_run(tracker, key, "f2") == first
    again = [r for r in tracker.running_runs() if r.run_id == first]
    assert [(r.work_key, r.flow_run) for r in again] == [(key, "f2")]
    assert open_run(tracker, uuid.uuid4().hex) != first
    tracker.end_run(first, status="FINISHED")


def test_metrics_are_kept_by_step_and_must_be_finite(tracker: Tracker) -> None:
    run = open_run(tracker, uuid.uuid4().hex)
    tracker.log_metrics(run, [("loss", 1.0, 1), ("loss", 0.5, 2), ("accuracy", 0.9, 2)])
    assert tracker.logged_steps(run, "loss") == {1, 2}
    assert tracker.logged_steps(run, "absent") == set()
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="only finite values"):
            tracker.log_metrics(run, [("loss", bad, 3)])
    assert tracker.logged_steps(run, "loss") == {1, 2}
    tracker.end_run(run, status="FINISHED")


def test_parameters_datasets_and_files_may_be_logged_again(tracker: Tracker, tmp_path: Path) -> None:
    run = open_run(tracker, uuid.uuid4().hex)
    (tmp_path / "plot.png").write_bytes(b"png")
    for _ in range(2):
        tracker.log_params(run, {"epochs": "5"})
        tracker.log_dataset(run, name="digits", digest="abc", source_uri="s3://raw/digits/")
        tracker.log_files(run, {"plots/plot.png": tmp_path / "plot.png"})
    tracker.log_params(run, {"epochs": "6", "seed": "1"})  # the first value stands
    assert run in tracker.run_url(run)
    assert f"/{run}/artifacts" in tracker.run_url(run, "artifacts")
    assert "/experiments/" in (tracker.experiment_url("contract") or "")
    assert tracker.experiment_url(uuid.uuid4().hex) is None
    assert "digits" in tracker.version_url("digits", 3)
    tracker.end_run(run, status="FINISHED")


def test_a_model_directory_goes_up_byte_for_byte(tracker: Tracker, tmp_path: Path, request: Any) -> None:
    run = open_run(tracker, uuid.uuid4().hex)
    folder = tmp_path / "model"
    (folder / "data").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors:\n  python_function:\n    loader_module: x\nmodel_uuid: '1'\n")
    (folder / "data" / "weights.bin").write_bytes(bytes(range(256)))
    logged = tracker.log_model(run, model_dir=folder, name="model")
    assert logged.source_uri.startswith("s3://")
    assert {"MLmodel", "data/weights.bin"} <= set(logged.files)
    assert logged.sizes_bytes["data/weights.bin"] == 256
    tracker.end_run(run, status="FINISHED")
