"""`data`: a measure of the delivery against a bound."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.gates.checks.base import Bounded
from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.result import CheckResult, against_bound, bound_words, not_applicable, unknown


class DataCheck(Bounded):
    """A measure of the delivery (docs/gates.md lists them) against a bound."""

    kind: Literal["data"]
    measure: str


def judge_data(check: DataCheck, case: Case) -> CheckResult:
    """The measure against the bound; over nothing it says nothing."""
    threshold = bound_words(check.minimum, check.maximum)
    measure = case.evidence.data_measures.get(check.measure)
    if measure is None:
        return unknown(check.kind, check.measure, threshold, "not measured for this kind of data")
    if measure.n < 1:
        why = measure.detail or "there were no records to measure it on"
        if case.first_model:
            return not_applicable(check.kind, check.measure, threshold, why)
        return unknown(check.kind, check.measure, threshold, why)
    return against_bound(
        check.kind,
        check.measure,
        measure.value,
        measure.n,
        minimum=check.minimum,
        maximum=check.maximum,
        detail=measure.detail,
    )
