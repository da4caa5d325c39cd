"""`attribution`: the model looks at what the champion looked at."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from mlratchet.models.config import StrictModel
from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.checks.paired import NO_CHAMPION
from mlratchet.models.gates.result import CheckResult, against_bound, not_applicable, unknown
from pydantic import Field


class AttributionCheck(StrictModel):
    """How far the importance of the inputs moved from the champion's."""

    kind: Literal["attribution"]
    maximum_shift: float = Field(gt=0, le=1)
    """0: the same importance everywhere; 1: nothing in common."""


def _why(case: Case) -> str:
    why = case.evidence.missing.get("attributions") or case.evidence.missing.get("champion", "")
    return "attributions were not measured" + (f": {why}" if why else "")


def judge_attribution(check: AttributionCheck, case: Case) -> CheckResult:
    """The measured shift against the maximum."""
    threshold, shift = f"<= {check.maximum_shift:g}", case.evidence.attribution_shift
    if case.first_model:
        return not_applicable(check.kind, "attribution_shift", threshold, NO_CHAMPION)
    if shift is None:
        return unknown(check.kind, "attribution_shift", threshold, _why(case))
    if shift.n < 1 or shift.value < 0:
        return unknown(check.kind, "attribution_shift", threshold, f"measured {shift.value:g} over {shift.n} rows")
    result = against_bound(
        check.kind,
        "attribution_shift",
        shift.value,
        shift.n,
        maximum=check.maximum_shift,
        detail=shift.detail,
        method=shift.method or "measured",
    )
    return replace(result, interval=shift.interval)
