"""What an alarm says of what it is about, and when a condition is told."""

from __future__ import annotations

from typing import Any

import pytest
from mlratchet.models.monitoring.actions import ActionRule
from mlratchet.models.monitoring.calibration import MEANT
from mlratchet.models.monitoring.config import MonitoringConfig
from mlratchet.models.monitoring.judging import Concern, alarms, new_of
from mlratchet.models.monitoring.sequential import Sounded
from mlratchet.models.monitoring.window import Figure

HOUR, DAY = 3600.0, 86_400.0
FIGURES = {
    "confidence": Figure(value=0.83, n=500), "drift confidence": Figure(value=0.31, low=0.2, high=0.4, n=499),
    "calibration_drift": Figure(value=0.2, low=0.1, high=0.3, n=400), "errors": Figure(value=0.02, n=510),
    "drift errors": Figure(value=0.5, n=498, method="wasserstein"), "missing errors": Figure(value=0.4, n=497),
    "accuracy": Figure(value=0.7, n=300), "refused": Figure(value=0.06, n=600),
    "slow": Figure(value=0.5, n=496),
}  # fmt: skip


def concern(kind: Any = "inputs", subject: str = "price", severity: Any = "alarm", **more: Any) -> Concern:
    facts = {"measure": "m", "words": "w", "threshold": "t", "method": "m", "n": 3, **more}
    return Concern(kind=kind, subject=subject, severity=severity, **facts)


@pytest.mark.parametrize(
    ("stream", "effect", "n", "measure"),
    [
        ("outputs/confidence", 0.31, 499, "confidence"), (MEANT, 0.2, 400, "calibration_drift"),
        ("inputs/errors", 0.5, 498, "wasserstein"), ("data/errors", 0.4, 497, "missing"),
        ("service/errors", 0.02, 510, "errors"), ("service/latency", 0.5, 496, "slow"),
        ("quality/accuracy", 0.7, 300, "accuracy"), ("data/refused", 0.06, 600, "refused"),
    ],
)  # fmt: skip
def test_an_alarm_says_how_large_the_thing_is_that_it_is_about(
    stream: str, effect: float, n: int, measure: str
) -> None:
    burn = concern("service", stream.partition("/")[2], "warning", measure="error_burn", effect=9.0)
    (one,) = alarms([Sounded(at_s=1.0, statistic=9.0, shares={stream: 1.0})], FIGURES, {}, MonitoringConfig(), [burn])
    assert (one.effect, one.n, one.measure) == (effect, n, measure)


def told(*windows: list[Concern], step_s: float = HOUR, rules: Any = (), begun: Any = None) -> list[list[str]]:
    after: Any = begun or {}
    found = []
    for number, concerns in enumerate(windows):
        now, after = new_of(concerns, after, at_s=number * step_s, rules=rules)
        found.append([f"{one.key} {one.severity}" for one in now])
    return found


def test_an_alarm_is_told_when_it_begins_or_worsens_and_again_after_a_day() -> None:
    windows = [[concern(severity="warning")], *[[concern()] for _ in range(26)]]
    said = told(*windows)
    assert [at for at, one in enumerate(said) if one] == [0, 1, 25]
    assert told([concern()], [], [concern()]) == [["inputs:price alarm"], [], ["inputs:price alarm"]]


def test_an_alarm_that_stays_is_told_again_when_a_rule_may_act_on_it_again() -> None:
    rule = ActionRule(when="inputs", do="retrain", cooldown=3 * HOUR)
    said = told(*[[concern()] for _ in range(7)], rules=[rule])
    assert [at for at, one in enumerate(said) if one] == [0, 3, 6]
    notify = ActionRule(when="inputs", do="notify", cooldown=0)
    assert [bool(one) for one in told([concern()], [concern()], rules=[notify])] == [True, False]


def test_what_a_record_of_before_holds_open_counts_from_its_begin() -> None:
    old = {"inputs:price": {"since_s": -HOUR, "severity": "alarm", "words": "w"}}
    assert told([concern()], begun=old) == [[]]
    old["inputs:price"]["since_s"] = -DAY
    assert told([concern()], [concern()], begun=old) == [["inputs:price alarm"], []]


def test_the_alarm_of_the_calibration_is_told_without_its_warning() -> None:
    both = [concern("outputs", "calibration", "warning"), concern("quality", "calibration")]
    found, after = new_of(both, {}, at_s=0.0)
    assert [one.key for one in found] == ["quality:calibration"]
    assert set(after) == {"quality:calibration", "outputs:calibration"}
