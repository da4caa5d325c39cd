"""Which TensorBoard files are fetched: those of the newest run that has any, and of them only what holds events."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.infra.tracking.board import fetch_newest
from mlratchet.models.errors import ConfigurationError


def run(run_id: str, uri: str | None) -> Any:
    return SimpleNamespace(info=SimpleNamespace(run_id=run_id, artifact_uri=uri))


@pytest.fixture
def artifacts(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    """Two pipelines; newest first, as MLflow is asked for them. Somebody chose where the evil run lies."""
    runs = {
        "1": [
            run("evil", "file:///etc"), run("elsewhere", "s3://other/1/elsewhere/artifacts"), run("none", None),
            run("under-way", "s3://mlflow/1/under-way/artifacts"), run("new", "s3://mlflow/1/new/artifacts"),
            run("old", "s3://mlflow/1/old/artifacts"),
        ],
        "2": [],
    }  # fmt: skip

    class Client:
        def __init__(self, uri: str) -> None:
            assert uri == "http://mlflow"

        def get_run(self, run_id: str) -> Any:
            for one in runs["1"]:
                if one.info.run_id == run_id:
                    return one
            raise MlflowException(f"no run {run_id}")

        def search_experiments(self) -> list[Any]:
            return [SimpleNamespace(experiment_id=n, name=name) for n, name in (("1", "digits"), ("2", "empty"))]

        def search_runs(self, ids: list[str], *, max_results: int, order_by: list[str]) -> list[Any]:
            assert order_by == ["attributes.start_time DESC"]
            return [one for identity in ids for one in runs[identity]][:max_results]

    monkeypatch.setattr(mlflow, "MlflowClient", Client)
    store = MemoryStore("mlflow")
    for name in ("old", "new"):
        store.put(f"1/{name}/artifacts/tensorboard/events.out.tfevents.1", name.encode())
    store.put("1/new/artifacts/tensorboard/projector_config.pbtxt", b'embeddings { metadata_path: "/etc/passwd" }')
    store.put("1/under-way/artifacts/plots/a.png", b"")
    return store


def test_the_newest_run_with_files_is_fetched_and_nothing_but_events(artifacts: MemoryStore, tmp_path: Path) -> None:
    assert fetch_newest("http://mlflow", artifacts, None, tmp_path) == "new"
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()] == [
        "new/events.out.tfevents.1"
    ]
    assert (tmp_path / "new" / "events.out.tfevents.1").read_bytes() == b"new"


def test_one_run_is_fetched_by_its_id_and_another_is_not_taken_for_it(artifacts: MemoryStore, tmp_path: Path) -> None:
    assert fetch_newest("http://mlflow", artifacts, None, tmp_path, run="old") == "old"
    assert (tmp_path / "old" / "events.out.tfevents.1").read_bytes() == b"old"
    for name, words in (("under-way", "has no TensorBoard files"), ("evil", "has no"), ("gone", "is not in MLflow")):
        with pytest.raises(ConfigurationError, match=words):
            fetch_newest("http://mlflow", artifacts, None, tmp_path, run=name)


@pytest.mark.parametrize("name", ["empty", "no-such-pipeline"])
def test_no_files_is_said(artifacts: MemoryStore, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"no run of {name} has TensorBoard files"):
        fetch_newest("http://mlflow", artifacts, name, tmp_path)
