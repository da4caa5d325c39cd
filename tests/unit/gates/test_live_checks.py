"""The checks of a canary: counts decide, at any number of requests against it and at the minimum of them for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.decisions.stored_evidence import Basis, freeze, thaw
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.evaluation.statistics.rates import rate_bounds, rate_difference
from mlratchet.models.gates.checks.base import Check
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.gates.judge import judge
from mlratchet.models.gates.kinds import AnyCheck
from mlratchet.models.gates.live import LiveEvidence, LiveTally
from mlratchet.models.gates.policy import GatePolicy
from mlratchet.models.gates.result import CheckResult
from mlratchet.models.promotion.canary.config import CanaryConfig, canary_problems
from mlratchet.models.promotion.canary.evidence import freeze_live, live_digest, thaw_live
from pydantic import TypeAdapter, ValidationError

PARSE: Any = TypeAdapter(AnyCheck).validate_python
ERRORS = {"kind": "live_errors"}
LATENCY = {"kind": "live_latency", "maximum_milliseconds": 50.0}
DISAGREEMENT = {"kind": "live_disagreement", "maximum": 0.1}
QUALITY = {"kind": "live_quality", "margin": 0.1}
EVERY = (ERRORS, LATENCY, DISAGREEMENT, QUALITY)


def live(**more: Any) -> LiveEvidence:
    """A candidate that did well in everything."""
    facts: dict[str, Any] = {
        "version": 4, "champion_version": 3, "began_s": 0.0, "until_s": 100.0, "requests": 600,
        "minimum_requests": 500, "shadowed": 200, "failed": LiveTally(yes=0, n=600),
        "champion_failed": LiveTally(yes=5, n=9000), "shadow_failed": LiveTally(yes=0, n=200),
        "slow": {"50": LiveTally(yes=3, n=600)}, "differs": {"0": LiveTally(yes=4, n=200)},
        "right": {"0": LiveTally(yes=380, n=400)}, "champion_right": {"0": LiveTally(yes=4700, n=5000)},
    }  # fmt: skip
    return LiveEvidence(**(facts | more))


def found(check: dict[str, Any], evidence: LiveEvidence | None, *, first: bool = False) -> CheckResult:
    parsed: Check = PARSE(check)
    judged = Evidence(version=4, canary=evidence)
    return judge("champion", [parsed], judged, first_model=first, task="", class_names=()).checks[0]


@pytest.mark.parametrize("check", EVERY, ids=lambda one: one["kind"])
def test_a_good_candidate_passes(check: dict[str, Any]) -> None:
    result = found(check, live())
    assert (result.verdict, result.interval_level) == ("pass", 0.95)
    assert result.interval is not None


BAD = [
    (ERRORS, {"failed": LiveTally(yes=60, n=600)}),
    (ERRORS, {"shadow_failed": LiveTally(yes=40, n=200)}),
    (LATENCY, {"slow": {"50": LiveTally(yes=90, n=600)}}),
    (DISAGREEMENT, {"differs": {"0": LiveTally(yes=60, n=200)}}),
    (QUALITY, {"right": {"0": LiveTally(yes=260, n=400)}}),
]


@pytest.mark.parametrize(("check", "bad"), BAD)
def test_a_bad_one_fails_long_before_the_minimum(check: dict[str, Any], bad: dict[str, Any]) -> None:
    assert found(check, live(**bad)).verdict == "fail"
    assert found(check, live(requests=20, **bad)).verdict == "fail"


@pytest.mark.parametrize("check", EVERY, ids=lambda one: one["kind"])
def test_fewer_than_the_minimum_is_inconclusive_however_good(check: dict[str, Any]) -> None:
    result = found(check, live(requests=499))
    assert result.verdict == "inconclusive"
    assert "499 live requests, minimum 500" in result.reason


@pytest.mark.parametrize("check", EVERY, ids=lambda one: one["kind"])
def test_what_is_no_evidence_is_inconclusive_and_who_was_stopped_fails(check: dict[str, Any]) -> None:
    assert "serving.canary" in found(check, None).reason
    assert "of version 5, expected version 4" in found(check, live(version=5)).reason
    assert "a file is gone" in found(check, live(broken="a file is gone")).reason
    nothing = LiveEvidence(version=4, champion_version=3, began_s=0.0, until_s=1.0, minimum_requests=1)
    for evidence in (None, live(version=5), live(broken="a gap"), nothing):
        assert found(check, evidence).verdict == "inconclusive"
    stopped = found(check, live(stopped="stopped by ada: looks wrong"))
    assert (stopped.verdict, stopped.reason) == ("fail", f"{check['kind']}: stopped by ada: looks wrong")
    assert found(check, None, first=True).verdict == "not_applicable"


def test_replayed_requests_alone_are_judged_where_the_file_asks_for_no_live_ones() -> None:
    replayed = live(
        requests=0, minimum_requests=0, failed=LiveTally(), shadow_failed=LiveTally(yes=0, n=500), replayed=500
    )
    assert found(ERRORS, replayed).verdict == "pass"
    assert found(DISAGREEMENT, replayed).verdict == "pass"
    assert found(ERRORS, replace(replayed, minimum_requests=1)).verdict == "inconclusive"


def test_few_labels_do_not_pass() -> None:
    few = live(right={"0": LiveTally(yes=40, n=40)})
    assert found({**QUALITY, "margin": 0.5}, few).verdict == "inconclusive"
    assert found({**QUALITY, "margin": 0.5, "minimum_labels": 40}, few).verdict == "pass"


def test_live_evidence_is_read_back_as_it_was_judged(store: MemoryStore) -> None:
    evidence = live(files=("a" * 64,), broken="", slow={"50": LiveTally(yes=1, n=2), "100": LiveTally()})
    digest = freeze_live(store, evidence)
    assert thaw_live(store, digest) == evidence
    assert live_digest(evidence) == {"canary": digest}
    assert live_digest(None) == {}
    basis = Basis(gate="champion", first_model=False, task="", class_names=(), now_s=1.0)
    again, _ = thaw(store, freeze(store, Evidence(version=4, canary=evidence), basis))
    assert again.canary == evidence


def test_bounds_of_a_rate_hold_at_every_moment() -> None:
    """40 streams of 400, looked at after each of the first 50 observations and then every tenth: in a twentieth of the
    streams one of the looks may be wrong."""
    random = np.random.default_rng(7)
    wrong = 0
    for rate in (0.02, 0.3):
        for _ in range(40):
            seen = np.cumsum(random.random(400) < rate)
            looks = [*range(1, 50), *range(50, 401, 10)]
            bounds = [rate_bounds(int(seen[n - 1]), n, 0.95) for n in looks]
            wrong += any(not one.low <= rate <= one.high for one in bounds)
    assert wrong <= 9  # of 80; 4 are expected at most, and more than 9 have a probability below 1 %


def test_a_difference_without_observations_says_nothing() -> None:
    nothing = rate_difference((0, 0), (0, 0), 0.95)
    assert (nothing.low, nothing.high) == (-1.0, 1.0)
    with pytest.raises(ValueError, match="yes <= n"):
        rate_bounds(3, 2, 0.95)
    with pytest.raises(ValueError, match="between 0 and 1"):
        rate_bounds(1, 2, 1.0)


def policy(*champion: dict[str, Any]) -> GatePolicy:
    absolute = {"kind": "absolute", "metric": "accuracy", "minimum": 0.5}
    gates = {
        "data": [{"kind": "data", "measure": "rows", "minimum": 10.0}],
        "candidate": [absolute],
        "staging": [{"kind": "latency", "quantile": "p95", "maximum_milliseconds": 50.0}],
        "champion": [absolute, *champion],
    }
    return GatePolicy.model_validate(gates)


REPLAY: dict[str, Any] = {"on_no_traffic": "replay"}


@pytest.mark.parametrize(
    ("canary", "checks", "logged", "words"),
    [
        (None, (ERRORS,), True, "declare serving.canary"),
        ({}, (), True, "no check that reads it"),
        ({}, (ERRORS,), False, "serving.log.enabled is false"),
        ({"shadow_requests": 0}, (DISAGREEMENT,), True, "compares answers in the shadow"),
        ({"minimum_requests": 0, **REPLAY}, (QUALITY,), True, "counts live requests alone"),
        ({}, EVERY, True, ""),
        (None, (), False, ""),
    ],
)
def test_what_could_never_be_judged_is_refused(
    canary: dict[str, Any] | None, checks: tuple[dict[str, Any], ...], logged: bool, words: str
) -> None:
    config = CanaryConfig(**canary) if canary is not None else None
    assert words in "; ".join(canary_problems(config, policy(*checks), logged=logged))
    assert bool(words) == bool(canary_problems(config, policy(*checks), logged=logged))


@pytest.mark.parametrize(
    ("canary", "words"),
    [
        ({"steps": [0.25, 0.05]}, "ascending shares above 0 and below 1"),
        ({"steps": [0.5, 1.0]}, "ascending shares"),
        ({"steps": []}, "at least 1 item"),
        ({"minimum_requests": 0}, "watches nothing"),
        ({"maximum_hours": 1000.0}, "less than or equal to 336"),
        ({"on_no_traffic": "promote"}, "'replay' or 'hold'"),
    ],
)
def test_a_canary_that_makes_no_sense_is_refused(canary: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        CanaryConfig.model_validate(canary)


def test_a_live_check_stands_at_the_champion_gate_alone() -> None:
    with pytest.raises((ValidationError, ConfigurationError), match="put it under champion"):
        GatePolicy.model_validate({**policy().model_dump(exclude={"policy", "shared"}), "probation": [ERRORS]})
