"""What a canary showed, counted over rows of the inference log."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from mlratchet.models.gates.checks.live_disagreement import LiveDisagreementCheck
from mlratchet.models.gates.checks.live_errors import LiveErrorsCheck
from mlratchet.models.gates.checks.live_latency import LiveLatencyCheck
from mlratchet.models.gates.checks.live_quality import LiveQualityCheck
from mlratchet.models.gates.live import LiveEvidence, Tally
from mlratchet.models.serving.live_answers import UNLIKE, apart, is_right
from mlratchet.models.serving.live_evidence import Counted, live_evidence

from tests.unit.audit.conftest import World
from tests.unit.promotion.canaries import Canary

COUNTED = Counted.of(
    [
        LiveErrorsCheck(kind="live_errors"),
        LiveLatencyCheck(kind="live_latency", maximum_milliseconds=10.0),
        LiveDisagreementCheck(kind="live_disagreement", maximum=0.1),
        LiveQualityCheck(kind="live_quality", margin=0.1),
    ]
)
SCHEMA = pa.schema(
    {
        "request_id": pa.string(), "row": pa.int32(), "received_s": pa.float64(), "latency_ms": pa.float32(),
        "version": pa.int32(), "generation": pa.int32(), "variant": pa.string(), "status": pa.int16(),
        "replayed": pa.bool_(), "answer": pa.string(),
    }
)  # fmt: skip


class Log:
    """Rows of a log, one request after the other."""

    def __init__(self, canary: Canary) -> None:
        self.began_s, self.rows = canary.began_s, list[dict[str, Any]]()
        self.labels: dict[str, str] = {}

    def add(self, variant: str, said: str | None = "yes", **more: Any) -> str:
        number = len(self.rows)
        version = 3 if variant == "champion" else 4
        row = {
            "request_id": f"r{number}", "row": 0, "received_s": self.began_s + number, "latency_ms": 5.0,
            "version": version, "generation": 4, "variant": variant, "status": 200, "replayed": False,
            "answer": json.dumps({"class": said, "probability": 0.9}) if said else None,
        } | more  # fmt: skip
        self.rows.append(row)
        return str(row["request_id"])

    def evidence(self, canary: Canary, **more: Any) -> LiveEvidence:
        table = pa.Table.from_pylist(self.rows, schema=SCHEMA)
        labels = pa.table(
            {
                "request_id": pa.array(list(self.labels), pa.string()),
                "row": pa.array([0] * len(self.labels), pa.int32()),
                "label": pa.array(list(self.labels.values()), pa.string()),
            }
        )
        facts: dict[str, Any] = {"champion_version": 3, "minimum_requests": 10, "until_s": self.began_s + 1e6}
        return live_evidence(table, labels, COUNTED, canary.put("share"), **(facts | more))


@pytest.fixture
def canary(world: World) -> Canary:
    return Canary(world)


@pytest.fixture
def log(canary: Canary) -> Log:
    return Log(canary)


def test_each_variant_is_counted_for_itself(canary: Canary, log: Log) -> None:
    for _ in range(20):
        log.add("champion")
    log.add("champion", None, status=422)
    for _ in range(3):
        log.add("canary", latency_ms=11.0)
    log.add("canary", None, status=500, latency_ms=1.0)
    live = log.evidence(canary)
    assert (live.requests, live.minimum_requests, live.shadowed, live.replayed) == (4, 10, 0, 0)
    assert live.failed == Tally(yes=1, n=4)
    assert live.champion_failed == Tally(yes=1, n=21)
    assert live.slow == {"10": Tally(yes=3, n=3)}
    assert live.shadow_failed == Tally()


def test_a_shadow_is_held_against_the_champion_on_the_same_request(canary: Canary, log: Log) -> None:
    for said in ("yes", "yes", "no"):
        request = log.add("champion")
        log.add("shadow", said, request_id=request)
    alone = log.add("champion")
    log.add("shadow", None, request_id=alone, status=500)
    log.add("shadow", request_id="a request whose answer is not in the log")
    live = log.evidence(canary)
    assert live.differs == {"0": Tally(yes=1, n=3)}
    assert live.shadow_failed == Tally(yes=1, n=5)
    assert (live.shadowed, live.failed.n) == (5, 0)


def test_what_is_replayed_counts_for_no_minimum_and_no_quality(canary: Canary, log: Log) -> None:
    for replayed in (True, False):
        request = log.add("canary", replayed=replayed)
        log.labels[request] = "yes"
        request = log.add("champion", replayed=replayed)
        log.add("shadow", request_id=request, replayed=replayed)
        log.labels[request] = "no"
    live = log.evidence(canary)
    assert (live.requests, live.replayed, live.shadowed) == (1, 2, 2)
    assert live.failed == Tally(yes=0, n=2)
    assert live.right == {"0": Tally(yes=1, n=1)}
    assert live.champion_right == {"0": Tally(yes=0, n=1)}
    assert live.differs == {"0": Tally(yes=0, n=2)}


def test_what_no_version_can_help_is_no_failure_of_one(canary: Canary, log: Log) -> None:
    for status in (408, 413, 429, 499, 503):
        log.add("canary", None, status=status)
    live = log.evidence(canary)
    assert (live.failed, live.requests) == (Tally(), 0)


@pytest.mark.parametrize(
    "other",
    [{"version": 2}, {"generation": 3}, {"received_s": 0.0}, {"received_s": 1e15}, {"row": 1}, {"variant": "previous"}],
)
def test_rows_of_another_time_version_or_generation_are_left_out(
    canary: Canary, log: Log, other: dict[str, Any]
) -> None:
    log.add(**{"variant": "canary", **other})
    assert log.evidence(canary).failed.n == 0


@pytest.mark.parametrize(
    ("ours", "theirs", "distance"),
    [
        ({"class": "a", "probability": 0.6}, {"class": "a", "probability": 0.9}, 0.0),
        ({"class": "a"}, {"class": "b"}, UNLIKE),
        ({"labels": ["a", "b"]}, {"labels": ["b", "a"]}, 0.0),
        ({"labels": ["a"]}, {"labels": []}, UNLIKE),
        ({"value": 1.5}, {"value": 2.0}, 0.5),
        ({"boxes": [1, 2]}, {"boxes": [1, 2]}, 0.0),
        ({"boxes": [1, 2]}, {"boxes": [1]}, UNLIKE),
        ({"class": "a"}, {"value": 1.0}, UNLIKE),
    ],
)
def test_how_far_two_answers_are_apart(ours: dict[str, Any], theirs: dict[str, Any], distance: float) -> None:
    assert apart(ours, theirs) == distance


@pytest.mark.parametrize(
    ("answer", "label", "right"),
    [
        ({"class": "a"}, "a", True),
        ({"class": "1"}, "2", False),
        ({"labels": ["b", "a"]}, '["a", "b"]', True),
        ({"labels": ["a"]}, "a, b", False),
        ({"value": 1.0}, "1.2", True),
        ({"value": 1.0}, "1.3", False),
        ({"value": 1.0}, "a word", None),
        ({"boxes": [1]}, "a", None),
    ],
)
def test_whether_an_answer_is_right(answer: dict[str, Any], label: str, right: bool | None) -> None:
    assert is_right(answer, label, 0.25) is right
