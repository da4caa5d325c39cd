"""A promotion is watched on live requests beside the version before, and goes back by itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mlratchet.models.monitoring.config import ProbationConfig
from mlratchet.models.monitoring.probation import Lived, class_of, judge_probation
from mlratchet.models.promotion.holds import HoldBook
from mlratchet.tasks.actions.watch_promotion import in_words, watch_promotion

from tests.unit.audit.conftest import World
from tests.unit.inference_log.logs import Log
from tests.unit.tasks.conftest import adapters_of

CONFIG = ProbationConfig(seconds=1000.0)


class Live:
    """Version 1 served, version 3 was promoted over it (generation 4)."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.log = Log("digits", store=world.store, pipeline_key=world.keys.signer())
        world.keys.list = self.log.keys.trusted()
        self.promoted_s = world.ledger.entries("digits")[-1].at_s
        self.adapters: Any = adapters_of(world)

    def answered(self, version: int, at_s: float, right: Sequence[int], *, status: int = 200, **more: Any) -> None:
        """One request after the other, and a label for each."""
        rows = [
            {
                "received_s": at_s + place * 1e-3, "version": version, "generation": 4 if version == 3 else 3,
                "request_id": f"{version}-{at_s}-{place}", "status": status, "answer": '{"class": "yes"}', **more,
            }
            for place in range(len(right))
        ]  # fmt: skip
        self.log.write(rows)
        labels = [
            (row["request_id"], 0, "yes" if good else "no", at_s + 1) for row, good in zip(rows, right, strict=True)
        ]
        self.log.feedback(labels)

    def watch(self, after_s: float = 100.0, config: ProbationConfig = CONFIG) -> Any:
        return watch_promotion(self.adapters, "digits", config, now_s=self.promoted_s + after_s)


@pytest.fixture
def live(world: World) -> Live:
    made = Live(world)
    made.answered(1, made.promoted_s - 0.5, drawn(0.95))
    return made


def drawn(rate: float, n: int = 300) -> list[int]:
    return [int(one) for one in np.random.default_rng(3).random(n) < rate]


def test_a_version_that_disappoints_goes_back_by_a_decision_that_an_audit_believes(live: Live) -> None:
    live.answered(3, live.promoted_s + 10, drawn(0.6))
    HoldBook(live.adapters.store).place("digits", finding="f" * 64, kind="data", words="w", actor="m", at_s=1.0)
    found = live.watch()
    head = live.world.ledger.head("digits")
    assert head is not None
    assert (head.version, head.action, head.actor) == (1, "rollback", "probation")
    assert "wrong answers 1" in head.reason
    assert "version 1 is champion again" in in_words(found)
    decision = json.loads(live.world.store.get(f"decisions/{head.decision}.json"))
    assert [(check["kind"], check["verdict"]) for check in decision["checks"]] == [
        ("live_errors", "inconclusive"), ("live_quality", "fail"),
    ]  # fmt: skip
    assert live.world.audit().passed
    assert live.watch() is None  # what went back is not watched


@pytest.mark.parametrize("rate", [0.95, 1.0])
def test_a_version_that_is_as_good_stays(live: Live, rate: float) -> None:
    live.answered(3, live.promoted_s + 10, drawn(rate, 2000))
    found = live.watch()
    assert found.went_back is None
    assert {one.verdict for one in found.results} <= {"pass", "inconclusive"}


def test_server_errors_send_it_back_without_a_label(live: Live) -> None:
    live.answered(3, live.promoted_s + 10, [], status=500)
    facts = {"version": 3, "generation": 4, "status": 500}
    live.log.write([{"received_s": live.promoted_s + 20 + n * 1e-3, **facts} for n in range(300)])
    assert live.watch().went_back["version"] == 1


@pytest.mark.parametrize("more", [{"variant": "canary"}, {"replayed": True}, {"row": 1}])
def test_what_clients_did_not_get_as_a_request_of_their_own_counts_for_nothing(live: Live, more: Any) -> None:
    live.answered(3, live.promoted_s + 10, drawn(0.1), **more)
    found = live.watch()
    assert found.went_back is None
    assert found.results[1].n == 0


def test_a_log_with_a_gap_sends_nothing_back(live: Live) -> None:
    live.answered(3, live.promoted_s + 10, drawn(0.1))
    first = next(iter(info.key for info in live.world.store.list("log/digits/chain/")))
    live.world.store.delete(first)
    found = live.watch()
    assert found.went_back is None
    assert "is no evidence" in in_words(found)


def test_after_its_time_and_with_nothing_to_go_back_to_nothing_is_watched(live: Live) -> None:
    live.answered(3, live.promoted_s + 10, drawn(0.1))
    assert live.watch(1001.0) is None


def test_a_promotion_that_came_since_is_not_undone(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    live.answered(3, live.promoted_s + 10, drawn(0.1))
    entries = live.world.ledger.entries("digits")
    live.world.promote(4)
    seen = [entries]  # by whoever looked first
    ledger = SimpleNamespace(entries=lambda name: seen.pop() if seen else live.world.ledger.entries(name))
    monkeypatch.setattr(live.adapters, "ledger", ledger)
    assert live.watch().went_back is None
    assert live.world.ledger.head("digits").version == 4  # type: ignore[union-attr]


@pytest.mark.slow
def test_ways_back_by_chance_are_as_rare_as_declared_however_often_one_looks() -> None:
    rng = np.random.default_rng(5)
    config = ProbationConfig(loss=0.02, errors=None, confidence=0.9)
    back = 0
    for _ in range(60):
        before = Lived(version=1, right=tuple(int(one) for one in rng.random(400) < 0.9))
        stream = [int(one) for one in rng.random(600) < 0.9]
        looks = [judge_probation(Lived(version=2, right=tuple(stream[:n])), before, config) for n in range(60, 601, 60)]
        back += any(found[0].verdict == "fail" for found in looks)
    assert back <= 6


def test_an_answer_without_a_class_has_no_right_or_wrong() -> None:
    assert [class_of(one) for one in (None, "{", '{"value": 3}', "[1]", '{"class": 3}')] == [
        None,
        None,
        None,
        None,
        "3",
    ]
