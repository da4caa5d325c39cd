"""Whether confidences still mean what they meant: a sure and wrong answer says much, and no change keeps the rate."""

import numpy as np
import pytest
from mlratchet.models.monitoring.calibration import CALIBRATION_STREAM as STREAM
from mlratchet.models.monitoring.calibration import calibration_evidence
from mlratchet.models.monitoring.measure.estimate import Reliability
from mlratchet.models.monitoring.sequential import YEAR_S, JointAlarm

Rows = tuple[np.ndarray, np.ndarray]


def answers(rng: np.random.Generator, n: int, turned: float = 0.0) -> Rows:
    """Confidences that are true, and losses; of a share `turned`, losses as of a coin."""
    sure = rng.beta(6, 1, n)
    wrong = rng.random(n) > np.where(rng.random(n) < turned, 0.5, sure)
    return sure, wrong.astype(float)


def alarms(rng: np.random.Generator, turned: float, n: int, rate: float) -> int:
    sure, wrong = answers(rng, 2000)
    alarm = JointAlarm({"q": STREAM}, false_alarms_per_year=rate, started_s=0)
    said = calibration_evidence(Reliability.of(sure, 1 - wrong), *answers(rng, n, turned))
    return len(alarm.update({"q": (said, YEAR_S / n * np.arange(1, n + 1))}))


def test_without_a_change_alarms_stay_within_the_rate_and_a_change_is_found() -> None:
    rng = np.random.default_rng(3)
    assert sum(alarms(rng, 0.0, 5000, 4.0) for _ in range(20)) <= 4 * 20
    assert alarms(rng, 0.4, 5000, 4.0) > 20


def test_a_sure_and_wrong_answer_says_more_than_an_unsure_one() -> None:
    rng = np.random.default_rng(4)
    known = Reliability.of(*(lambda sure, wrong: (sure, 1 - wrong))(*answers(rng, 2000)))
    said = calibration_evidence(known, np.asarray([0.99, 0.6, 0.99]), np.asarray([1.0, 1.0, 0.0]))
    assert said.shape == (3, STREAM.width)
    assert (said[0] > said[1]).all()
    assert (said[2] < 0).all()
    assert np.exp(said[0]).max() == pytest.approx(50 / (1 + 49 * 0.02), rel=0.5)
