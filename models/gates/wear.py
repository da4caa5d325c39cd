"""Holdout wear: what follows when the same test rows have gated often.

Every verdict on the same rows tells a little about them, and after enough of them a candidate can pass by luck: Dwork
et al. (2015), Science 349, "The reusable holdout". The rule `stricter` divides every error probability by the number of
verdicts these rows will then have given (Bonferroni over uses): the chance that any of them promoted a model that is
worse than its bound stays below the declared one. It answers for the number of uses, not for a person who reads the
per-row outputs and tunes on them; `rotate` does.
"""

from __future__ import annotations

from collections.abc import Iterable

from mlratchet.models.gates.checks.base import SCORED_GATES, Check
from mlratchet.models.gates.policy import HoldoutPolicy
from mlratchet.models.gates.result import CheckResult, not_applicable, unknown

KIND = "holdout"
FRESH = "change data.split.salt (by time: a later data.split.test_from, or newer rows)"


def wears_rows(gate: str, checks: Iterable[Check]) -> bool:
    """Whether a verdict of this gate tells something of the test rows: only the scored gates are given any."""
    return gate in SCORED_GATES and any(check.wears for check in checks)


def error_divisor(rule: HoldoutPolicy | None, uses: int | None) -> int:
    """By how much every error probability is divided; 1 while the rows are fresh."""
    if rule is None or rule.then != "stricter" or uses is None or uses < rule.warn_after:
        return 1
    return uses + 1


def judge_holdout(rule: HoldoutPolicy | None, uses: int | None) -> CheckResult | None:
    """The result that joins those of the checks; None while there is nothing to say."""
    if rule is None:
        return None
    threshold = f"< {rule.warn_after} verdicts on the same rows"
    if uses is None or uses < 0:
        return unknown(KIND, KIND, threshold, "it is not known how often these rows have gated before")
    if uses < rule.warn_after:
        return None
    seen = f"these test rows have gated {uses} times before"
    if rule.then == "rotate":
        return unknown(
            KIND, KIND, threshold, f"{seen}; take fresh ones: {FRESH}, and the next training begins fresh", uses
        )
    if rule.then == "stricter":
        return not_applicable(KIND, KIND, threshold, f"{seen}; every error probability is divided by {uses + 1}")
    return not_applicable(KIND, KIND, threshold, f"{seen}; consider fresh ones: {FRESH}")
