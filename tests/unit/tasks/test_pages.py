"""`ratchet open` leads to the very page: of a run, a version, a pipeline."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.infra.tracking.memory import MemoryTracker
from mlratchet.models.destination import Destination, destination_of, place_of
from mlratchet.models.errors import ConfigurationError, SecurityError
from mlratchet.tasks.actions import pages
from mlratchet.tasks.actions.pages import mlflow_place, prefect_place, tracking_run

FLOW_RUN = "0192e5c1-0000-7000-8000-000000000007"


class World:
    """A pipeline `table` with one run that has ended."""

    def __init__(self) -> None:
        self.store = MemoryStore("store")
        self.tracker = MemoryTracker(MemoryStore("artifacts"))
        self.training = self.tracker.open_run("table", work_key="w", flow_run=FLOW_RUN, name="n", tags={})
        self.tracker.end_run(self.training, status="FINISHED")
        self.report({"run_id": FLOW_RUN, "pipeline": "table", "training": {"mlflow_run": self.training}})
        self.settings = SimpleNamespace(prefect_api_url="http://p:1/api", pipelines_dir=MemoryStoreFolder())

    def report(self, report: Any) -> None:
        for key in (f"runs/{FLOW_RUN}.json", "runs/last/table.json"):
            self.store.put(key, json.dumps(report).encode())


class MemoryStoreFolder:
    """A folder of pipeline files that is empty."""

    def glob(self, _pattern: str) -> list[Any]:
        return []


@pytest.fixture
def world() -> Any:
    return World()


@pytest.mark.parametrize(
    ("what", "run", "subject"),
    [
        (None, None, Destination()),
        ("table", None, Destination(pipeline="table")),
        ("table/3", None, Destination(pipeline="table", version=3)),
        ("table", "last", Destination(pipeline="table", run="last")),
        (None, FLOW_RUN, Destination(run=FLOW_RUN)),
        (None, "0" * 32, Destination(run="0" * 32)),
    ],
)
def test_what_is_asked_for(what: str | None, run: str | None, subject: Destination) -> None:
    assert destination_of(what, run) == subject


@pytest.mark.parametrize(
    ("what", "run", "words"),
    [
        ("table/x", None, "NAME or NAME/VERSION"),
        ("table/0", None, "NAME or NAME/VERSION"),
        ("table/3", "last", "NAME or NAME/VERSION"),
        (None, "last", "a pipeline beside --run last"),
        (None, "../../settings", "the id of a run"),
    ],
)
def test_what_is_no_page_is_said(what: str | None, run: str | None, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        destination_of(what, run)


def test_a_run_has_a_page_in_both(world: Any) -> None:
    for subject in (Destination(run=FLOW_RUN), Destination(pipeline="table", run="last")):
        assert prefect_place(world, subject) == f"/runs/flow-run/{FLOW_RUN}"
        assert mlflow_place(world, subject) == f"/runs/{world.training}"
        assert tracking_run(world, subject) == world.training
    assert mlflow_place(world, Destination(run=world.training)) == f"/runs/{world.training}"
    assert mlflow_place(world, Destination(pipeline="table")) == "/experiments/table"
    assert (prefect_place(world, Destination()), mlflow_place(world, Destination())) == ("/", "/")


def test_a_version_has_the_page_of_the_run_that_judged_it(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    record = SimpleNamespace(name="table", version=3, run_id=world.training)
    monkeypatch.setattr(pages, "registration_of", lambda *_: record)
    monkeypatch.setattr(pages, "decisions_of", lambda *_: [{"decision": {"run_id": FLOW_RUN}}])
    world.registry = SimpleNamespace(get_version=lambda *_: SimpleNamespace(number=5))  # MLflow's own, after a rebuild
    subject = Destination(pipeline="table", version=3)
    assert prefect_place(world, subject) == f"/runs/flow-run/{FLOW_RUN}"
    assert mlflow_place(world, subject) == "/models/table/5"
    assert tracking_run(world, subject) == world.training


def test_a_training_under_way_is_found_without_a_report(world: Any) -> None:
    other = FLOW_RUN.replace("7", "8")
    training = world.tracker.open_run("table", work_key="v", flow_run=other, name="n", tags={})
    assert mlflow_place(world, Destination(run=other)) == f"/runs/{training}"


def test_what_is_not_there_is_said_with_what_helps(world: Any) -> None:
    with pytest.raises(ConfigurationError, match="has left no report"):
        mlflow_place(world, Destination(run=FLOW_RUN.replace("7", "9")))
    with pytest.raises(ConfigurationError, match="no pipeline 'tabel'"):
        mlflow_place(world, Destination(pipeline="tabel"))
    with pytest.raises(ConfigurationError, match="a run of MLflow: `ratchet open mlflow --run"):
        prefect_place(world, Destination(run=world.training))
    world.report({"run_id": FLOW_RUN})
    with pytest.raises(ConfigurationError, match="trained nothing"):
        mlflow_place(world, Destination(run=FLOW_RUN))


@pytest.mark.parametrize("planted", [b"{}", b"nonsense", b'{"run_id": "//evil.example"}', b"[]", b'{"run_id": 3}'])
def test_a_report_that_no_run_wrote_leads_nowhere(world: Any, planted: bytes) -> None:
    world.store.put("runs/last/table.json", planted)
    for place in (prefect_place, mlflow_place):
        with pytest.raises(SecurityError, match="no run wrote it"):
            place(world, Destination(pipeline="table", run="last"))


def test_a_planted_training_leads_nowhere(world: Any) -> None:
    world.report({"run_id": FLOW_RUN, "training": {"mlflow_run": "x/../../admin"}})
    with pytest.raises(SecurityError, match="no run wrote it"):
        mlflow_place(world, Destination(run=FLOW_RUN))


def test_the_place_of_an_address_keeps_query_and_fragment() -> None:
    assert place_of("http://h:1/#/experiments/1/runs/2?workflowType=x") == "/#/experiments/1/runs/2?workflowType=x"
    assert place_of("http://h:1/runs?a=b#c") == "/runs?a=b#c"
    assert place_of("http://h:1") == "/"
