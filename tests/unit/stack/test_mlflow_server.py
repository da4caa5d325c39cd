"""What the stack's MLflow does without."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from mlflow.exceptions import MlflowException
from mlflow.server.assistant.api import assistant_router
from mlflow.store.artifact.artifact_repository_registry import _artifact_repository_registry, get_artifact_repository
from mlratchet.infra.stack.mlflow_server import WithoutAssistant, read_no_files
from starlette.testclient import TestClient


def test_the_assistant_which_runs_commands_is_not_there() -> None:
    app = FastAPI()
    app.include_router(assistant_router)
    app.add_api_route("/health", lambda: "OK")
    paths = {route.path: next(iter(route.methods)) for route in assistant_router.routes}  # type: ignore[attr-defined]  # of API routes
    assert "/ajax-api/3.0/mlflow/assistant/message" in paths
    there = TestClient(app, client=("127.0.0.1", 1))
    assert there.post("/ajax-api/3.0/mlflow/assistant/message", json={}).status_code == 422  # it only wants more words
    closed = TestClient(WithoutAssistant(app), client=("127.0.0.1", 1))
    assert {closed.request(method, path).status_code for path, method in paths.items()} == {404}
    assert closed.get("/health").json() == "OK"


def test_the_server_reads_no_file_as_an_artifact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_artifact_repository_registry, "_registry", dict(_artifact_repository_registry._registry))
    assert get_artifact_repository("file:///etc").list_artifacts()  # why
    read_no_files()
    for place in ("file:///etc", "/etc", "http://127.0.0.1/", "ftp://127.0.0.1/", "mlflow-artifacts:/x", "hdfs://x/y"):
        with pytest.raises(MlflowException, match="Could not find a registered artifact repository"):
            get_artifact_repository(place)
    assert get_artifact_repository("s3://bucket/key").artifact_uri == "s3://bucket/key"
