"""Validate a policy against the workload, before anything trains."""

from __future__ import annotations

import difflib
import math

from mlratchet.models.data.quality import MEASURES
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.evaluation.metrics import metrics_for
from mlratchet.models.evaluation.statistics import detectable_margin, rows_needed
from mlratchet.models.gates.checks.absolute import AbsoluteCheck
from mlratchet.models.gates.checks.data import DataCheck
from mlratchet.models.gates.checks.paired import NonInferiorityCheck, SuperiorityCheck
from mlratchet.models.gates.policy import GatePolicy

TYPICAL_DISAGREEMENT = 0.04  # share of rows on which two trainings of one model differ


def _unknown(where: str, kind: str, name: str, known: list[str]) -> ConfigurationError:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known)}"
    return ConfigurationError(f"{where}: unknown {kind} {name!r}; {hint}")


def validate_policy(policy: GatePolicy, task: str, class_names: tuple[str, ...]) -> list[str]:
    """Warnings. Raises ``ConfigurationError`` for an unknown metric or measure, and for a bound on the wrong side
    of a metric's direction."""
    metrics = metrics_for(task, class_names)
    warnings: list[str] = []
    for number, data_check in enumerate(policy.checks("data")):
        if isinstance(data_check, DataCheck) and data_check.measure not in MEASURES:
            raise _unknown(f"gates.data.{number}", "measure", data_check.measure, list(MEASURES))
    for gate in ("candidate", "staging", "champion"):
        for number, check in enumerate(policy.checks(gate)):
            where = f"gates.{gate}.{number}"
            if isinstance(check, DataCheck) or not isinstance(
                check, AbsoluteCheck | NonInferiorityCheck | SuperiorityCheck
            ):
                continue
            if check.metric not in metrics:
                raise _unknown(where, "metric", check.metric, list(metrics))
            direction = metrics[check.metric].direction
            if isinstance(check, AbsoluteCheck) and (check.minimum is None) == (direction == "higher"):
                given, wanted = ("maximum", "minimum") if check.minimum is None else ("minimum", "maximum")
                raise ConfigurationError(
                    f"{where}: direction against the metric: {check.metric} is better when {direction}, "
                    f"got {given}, expected {wanted}"
                )
    if not any(isinstance(c, NonInferiorityCheck | SuperiorityCheck) for c in policy.checks("champion")):
        warnings.append("gates.champion compares nothing with the champion; add a non_inferiority check")
    if all(isinstance(c, NonInferiorityCheck | SuperiorityCheck) for c in policy.checks("champion")):
        raise ConfigurationError(
            "gates.champion: the first model would have no check (bootstrap: absolute_only); add an absolute check"
        )
    return warnings


def power_notes(policy: GatePolicy, n_test: int | None, *, test_share: float) -> list[str]:
    """A note per margin on accuracy that `n_test` rows cannot support; None when their number is not known yet."""
    notes = []
    for number, check in enumerate(policy.checks("champion")):
        if not isinstance(check, NonInferiorityCheck) or check.metric != "accuracy":
            continue
        needed = rows_needed(check.margin, disagreement=TYPICAL_DISAGREEMENT, confidence=check.confidence)
        words = (
            f"gates.champion.{number}: an equally good model passes a margin of {check.margin:g} four times in five "
            f"with {needed} test rows ({math.ceil(needed / test_share)} records, where two trainings differ on "
            f"{TYPICAL_DISAGREEMENT:.0%} of the rows)"
        )
        if n_test is None:
            notes.append(words)
        elif n_test < needed:
            margin = detectable_margin(n_test, disagreement=TYPICAL_DISAGREEMENT, confidence=check.confidence)
            notes.append(f"{words}; the champion had {n_test}: choose a margin of {margin:.3f} or deliver more")
    return notes
