"""Whether a confidence still means what it meant on the test rows, as evidence for a `JointAlarm`: a sure answer that
is wrong says more than an unsure one.

Where answers of a confidence were wrong in a share of at most q, the factor theta^wrong / (1 + (theta - 1) q) has a
mean of at most 1: the likelihood ratio of odds that are theta times as large (Wald 1945).

Shape legend: T labelled rows in the order of their requests, K bets, B bins of the confidence.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from mlratchet.models.monitoring.measure.answers import TaskFacts, confidences_of
from mlratchet.models.monitoring.measure.estimate import Reliability
from mlratchet.models.monitoring.measure.quality import LabelledRows
from mlratchet.models.monitoring.measure.service import Values
from mlratchet.models.monitoring.sequential import EvidenceStream

Array = np.ndarray[Any, Any]

THETA_K = np.asarray([1.1, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0, 20.0, 50.0])
ERRORS = 2.0  # standard errors of the test rows in the share of each bin: about the 97.5 % of a gate's promise
MEANT = "quality/calibration"  # the name of the stream
CALIBRATION_STREAM = EvidenceStream(parts=("surer than right",))


def calibration_evidence(promised: Reliability, confidence_T: Array, wrong_T: Array) -> Array:
    """(T, K) logarithms of the factors.

    Args:
        promised: From the test rows, not corrected since.
        confidence_T: Of the labelled answers.
        wrong_T: Losses in [0, 1].
    """
    rows_B = np.asarray(promised.rows)
    share_B = 1 - np.asarray(promised.right) / np.maximum(rows_B, 1)
    # the upper end of Wilson's interval (1927)
    square = ERRORS**2 / np.maximum(rows_B, 1)
    middle_B = (share_B + square / 2) / (1 + square)
    half_B = np.sqrt(square * (share_B * (1 - share_B) + square / 4)) / (1 + square)
    most_T = np.minimum(middle_B + half_B, 1.0)[np.searchsorted(np.asarray(promised.edges), confidence_T, side="right")]
    return np.asarray(wrong_T[:, None] * np.log(THETA_K) - np.log1p((THETA_K - 1) * most_T[:, None]))


def calibration_values(labelled: LabelledRows, promised: Reliability, facts: TaskFacts) -> dict[str, Values]:
    """The stream of labelled answers, by its name; nothing where none is labelled or says how sure it is."""
    sure = confidences_of(labelled.rows.output, facts)
    if sure is None or not len(sure):
        return {}
    wrong = (labelled.rows.output.argmax(axis=1) != labelled.rows.y).astype(np.float64)
    return {MEANT: Values(values=calibration_evidence(promised, sure, wrong), at_s=labelled.due_s)}
