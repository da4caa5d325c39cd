"""The score flow: what it reports of a batch, and of one that could not be scored."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.flows import score as flow
from mlratchet.flows.parameters import ScoreParameters
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.errors import DataError
from mlratchet.models.scoring.outcome import ScoredBatch
from prefect.client.schemas.objects import State, StateType

DONE = ScoredBatch(
    job="j", pipeline="shop", version=3, source="s3://given/day/", target="s3://out/day/", scored=8, set_aside=2,
    rules={"not_a_number": 2}, labelled=8, metrics={"accuracy": 0.75}, pieces=1,
)  # fmt: skip
ASKED = ScoreParameters(source="s3://given/day", target="s3://out/day", requested_by="ada")


class Flow:
    """Without Prefect; what it shows and reports."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.store, self.shown = MemoryStore("store"), list[Any]()
        self.ends: DataError | None = None
        self.asked: tuple[Any, ...] = ()
        patch.setattr(flow, "open_adapters", lambda: SimpleNamespace(store=self.store))
        patch.setattr(flow, "current", SimpleNamespace(id="run-1"))
        patch.setattr(flow, "score_rows", self.score)
        patch.setattr(flow, "tag_run", lambda *_: None)
        patch.setattr(flow, "show_table", lambda *told: self.shown.append(told))

    def score(self, *asked: Any) -> ScoredBatch:
        self.asked = asked[1:]
        if self.ends is not None:
            raise self.ends
        return DONE

    def run(self, parameters: ScoreParameters) -> State[Any]:
        return flow.score.fn("shop", parameters)

    @property
    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.store.get("runs/run-1.json"))
        return found


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Flow:
    return Flow(monkeypatch)


def test_a_batch_is_told_in_a_line_a_table_and_a_report(running: Flow) -> None:
    state = running.run(ASKED)
    assert running.asked[:5] == ("shop", "s3://given/day", "s3://out/day", None, None)
    assert (state.type, state.message) == (StateType.COMPLETED, "10 read, 8 scored, 2 set aside: 2 not_a_number")
    ((_, rows, words),) = running.shown
    assert [one["rows"] for one in rows] == ["scored", "set aside: not_a_number", "accuracy (of 8 labelled)"]
    assert "s3://out/day/manifest.json" in words
    assert (running.report["exit_code"], running.report["requested_by"], running.report["read"]) == (0, "ada", 10)


def test_one_that_could_not_be_scored_fails_with_its_line(running: Flow) -> None:
    running.ends = DataError("s3://given/day/: no object; nothing to score")
    state = running.run(ASKED)
    assert (state.type, state.message) == (StateType.FAILED, "DATA: s3://given/day/: no object; nothing to score")
    assert running.report["exit_code"] == 3


def test_without_places_nothing_is_scored(running: Flow) -> None:
    assert "from where and to where?" in str(running.run(ScoreParameters()).message)
    assert running.asked == ()
