"""What follows from a look at a canary."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from mlratchet.models.gates.live import LiveEvidence, LiveTally
from mlratchet.models.gates.result import CheckResult, Verdict
from mlratchet.models.promotion.canary.config import CanaryConfig
from mlratchet.models.promotion.canary.entry import CanaryEntry
from mlratchet.models.promotion.canary.plan import LEAST_REPLAYED, QUIET_S, Move, next_move
from mlratchet.models.serving.routing import in_share, place_of

from tests.unit.audit.conftest import World
from tests.unit.promotion.canaries import HOUR, Canary

CONFIG = CanaryConfig()  # 200 in the shadow, 5 % and 25 %, 500 requests, 2 h


@pytest.fixture
def canary(world: World) -> Canary:
    return Canary(world)


def verdicts(*said: Verdict) -> list[CheckResult]:
    return [CheckResult(kind="live_errors", metric="m", verdict=one, reason=f"m {one}", threshold="t") for one in said]


def live(entry: CanaryEntry, **more: Any) -> LiveEvidence:
    facts: dict[str, Any] = {"minimum_requests": 500, "sent": 1000, "began_s": entry.began_s, "until_s": entry.at_s}
    return LiveEvidence(version=4, champion_version=3, **(facts | more))


def move(entry: CanaryEntry, evidence: LiveEvidence, *said: Verdict, after_s: float = 10.0, **config: Any) -> Move:
    made = CONFIG.model_copy(update=config)
    return next_move(made, entry, evidence, verdicts(*said), now_s=entry.began_s + after_s)


def test_it_goes_from_the_shadow_through_every_share_to_the_end(canary: Canary) -> None:
    shadow = canary.put("shadow")
    assert move(shadow, live(shadow, shadowed=199)).do == "wait"
    first = move(shadow, live(shadow, shadowed=200), "inconclusive")
    assert (first.do, first.step) == ("share", 0)
    share = canary.put("share", share=0.05, step=0)
    assert move(share, live(share, requests=249), "pass").do == "wait"
    second = move(share, live(share, requests=250), "inconclusive")
    assert (second.do, second.step) == ("share", 1)
    last = canary.put("share", share=0.25, step=1)
    assert move(last, live(last, requests=499), "pass").do == "wait"
    assert move(last, live(last, requests=500), "pass", "inconclusive").do == "wait"
    settled = move(last, live(last, requests=500), "pass", "pass")
    assert (settled.do, settled.outcome) == ("settle", "pass")


def test_what_arrived_and_is_not_complete_yet_goes_on_to_the_next_share_and_settles_nothing(canary: Canary) -> None:
    def with_arrived(entry: CanaryEntry, **more: Any) -> Move:
        now_s, settled = entry.began_s + 10.0, live(entry, requests=240)
        return next_move(CONFIG, entry, settled, verdicts("pass"), now_s=now_s, arrived=live(entry, **more))

    assert with_arrived(canary.put("shadow"), shadowed=200).do == "share"
    assert with_arrived(canary.put("share", share=0.05, step=0), requests=250).step == 1
    last = with_arrived(canary.put("share", share=0.25, step=1), requests=900)
    assert (last.do, last.why) == ("wait", "240 of 500 live requests")


@pytest.mark.parametrize("phase", ["shadow", "share"])
def test_a_bad_one_goes_back_at_once(canary: Canary, phase: str) -> None:
    entry = canary.put(phase)
    back = move(entry, live(entry), "pass", "fail")
    assert (back.do, back.outcome, back.why) == ("end", "fail", "m fail")


def test_a_log_that_is_not_whole_decides_nothing(canary: Canary) -> None:
    entry = canary.put("share")
    end = move(entry, live(entry, broken="a gap"), "fail")
    assert (end.do, end.outcome) == ("end", "inconclusive")
    assert "a gap" in end.why


def test_too_few_at_the_end_are_inconclusive(canary: Canary) -> None:
    entry = canary.put("share", step=1)
    end = move(entry, live(entry, requests=312, replayed=40), "inconclusive", after_s=2 * HOUR)
    assert (end.do, end.outcome) == ("end", "inconclusive")
    assert "312 live requests in 2 h, minimum 500 (40 replayed ones do not count)" in end.why
    undecided = move(entry, live(entry, requests=900), "inconclusive", after_s=2 * HOUR)
    assert "not decided in 2 h: m inconclusive" in undecided.why


def test_without_traffic_the_file_says_what_follows(canary: Canary) -> None:
    entry = canary.put("shadow")
    quiet = live(entry, sent=0, shadowed=30)
    assert move(entry, quiet, after_s=QUIET_S).do == "wait"
    assert move(entry, quiet, after_s=QUIET_S - 1, on_no_traffic="replay").do == "wait"
    replay = move(entry, quiet, after_s=QUIET_S, on_no_traffic="replay")
    assert (replay.do, replay.count) == ("replay", 170)
    assert move(entry, replace(quiet, sent=1), after_s=QUIET_S, on_no_traffic="replay").do == "wait"
    share = canary.put("share", step=1)
    asked = live(share, sent=0, shadowed=200, failed=LiveTally(yes=0, n=100))
    again = move(share, asked, after_s=QUIET_S, on_no_traffic="replay", minimum_requests=0)
    assert again.do == "settle", "nobody was asked to judge it"
    again = move(share, asked, "inconclusive", after_s=QUIET_S, on_no_traffic="replay", minimum_requests=0)
    assert (again.do, again.count) == ("replay", LEAST_REPLAYED - 100)
    enough = replace(asked, failed=LiveTally(yes=0, n=LEAST_REPLAYED))
    assert move(share, enough, "inconclusive", after_s=QUIET_S, on_no_traffic="replay").do == "wait"


def test_whoever_was_in_the_first_share_stays_in_every_larger_one() -> None:
    clients = [f"client-{number}" for number in range(4000)]
    groups = [{name for name in clients if in_share(name, "w", share)} for share in (0.0, 0.05, 0.25, 0.9)]
    assert groups[0] == set()
    assert groups[1] < groups[2] < groups[3]
    assert [round(len(group) / 4000, 2) for group in groups[1:]] == pytest.approx([0.05, 0.25, 0.9], abs=0.02)
    assert {name for name in clients if in_share(name, "another", 0.05)} != groups[1]
    assert place_of("é\ud800", "w") == place_of("é\ud800", "w")


def test_each_step_has_its_part_of_the_minimum() -> None:
    steps = CanaryConfig(steps=(0.01, 0.1, 0.5), minimum_requests=500)
    assert [steps.asked_by(step) for step in range(3)] == [167, 334, 500]
