"""What the stack's MLflow does without."""

from __future__ import annotations

import json
import re
from pathlib import Path

import mlflow.server
import pytest
from fastapi import FastAPI, Response
from mlflow.exceptions import MlflowException
from mlflow.server.assistant.api import assistant_router
from mlflow.store.artifact.artifact_repository_registry import _artifact_repository_registry, get_artifact_repository
from mlratchet.infra.stack.mlflow_server import (
    FIRST_VISIT,
    TrainingFirst,
    WithoutAssistant,
    first_visit,
    read_no_files,
)
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


def test_a_new_browser_begins_with_the_training_view_and_an_old_one_keeps_its_own() -> None:
    """The page is MLflow's own, as it is installed."""
    page = (Path(mlflow.server.__file__).parent / "js" / "build" / "index.html").read_bytes()
    app = FastAPI()
    app.add_api_route("/", lambda: Response(page, media_type="text/html", headers={"etag": "old", "x-kept": "1"}))
    app.add_api_route("/version", lambda: Response(page, media_type="text/html", headers={"etag": "old"}))
    served = TestClient(TrainingFirst(app))
    reply = served.get("/", headers={"if-none-match": "old"})
    script = first_visit(FIRST_VISIT)
    assert reply.content == page.replace(b"<head>", b"<head>" + script.encode(), 1) != page
    assert reply.text.index(script) < reply.text.index("static/js/main")  # before MLflow reads what is kept
    assert (int(reply.headers["content-length"]), reply.headers["x-kept"]) == (len(reply.content), "1")
    assert "etag" not in reply.headers
    assert served.get("/version").content == page
    assert "localStorage.getItem(k)??localStorage.setItem(k,v)" in script


def test_the_script_of_the_first_visit_is_ended_by_no_value() -> None:
    odd = {"a": "</script><b>", "b": '"x"'}
    text = first_visit(odd)
    assert text.count("</script>") == 1
    (held,) = re.findall(r"Object\.entries\((\{.*?\})\)\)", text)
    assert json.loads(held) == odd


def test_mlflow_still_keeps_its_choice_under_these_keys() -> None:
    """In the JavaScript that is installed: key and version, as `key_vVERSION`."""
    scripts = Path(mlflow.server.__file__).parent / "js" / "build" / "static" / "js"
    text = "".join(file.read_text(errors="replace") for file in scripts.glob("main.*.js"))
    for name in FIRST_VISIT:
        key, _, version = name.rpartition("_v")
        assert f'key:"{key}",version:{version},' in text
    assert 'MACHINE_LEARNING="machine_learning"' in text
    assert "`${e}_v${t}`" in text
