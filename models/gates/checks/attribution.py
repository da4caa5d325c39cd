"""`attribution`: the model looks at what the champion looked at."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from mlratchet.models.gates.checks.base import SCORED_GATES, Check, Needs, PolicyContext
from mlratchet.models.gates.checks.case import NO_CHAMPION, Case
from mlratchet.models.gates.checks.naming import always_holds
from mlratchet.models.gates.result import CheckResult, against_bound, not_applicable, unknown
from pydantic import Field


class AttributionCheck(Check):
    """How far the importance of the inputs moved from the champion's."""

    gates = SCORED_GATES
    wears = False  # it asks where the model looks, not whether it is right: a verdict tells nothing of the labels

    kind: Literal["attribution"]
    maximum_shift: float = Field(gt=0, le=1)
    """0: the same importance everywhere; 1: nothing in common."""

    @property
    def compares(self) -> bool:
        """With the champion."""
        return True

    def needs(self) -> Needs:
        """The importance of every input, of both."""
        return Needs(attributions=True)

    def validate_in(self, context: PolicyContext, where: str) -> None:  # noqa: ARG002
        """A shift that can be more."""
        if self.maximum_shift >= 1:
            raise always_holds(where, "maximum_shift", self.maximum_shift, "the shift", (0.0, 1.0))

    def judge(self, case: Case) -> CheckResult:
        """The measured shift against the maximum."""
        threshold, shift = f"<= {self.maximum_shift:g}", case.evidence.attribution_shift
        if case.first_model:
            return not_applicable(self.kind, "attribution_shift", threshold, NO_CHAMPION)
        if shift is None:
            return unknown(self.kind, "attribution_shift", threshold, _why(case))
        if shift.n < 1 or shift.value < 0:
            return unknown(self.kind, "attribution_shift", threshold, f"measured {shift.value:g} over {shift.n} rows")
        result = against_bound(
            self.kind,
            "attribution_shift",
            shift.value,
            shift.n,
            maximum=self.maximum_shift,
            detail=shift.detail,
            method=shift.method or "measured",
        )
        return replace(result, interval=shift.interval)


def _why(case: Case) -> str:
    why = case.evidence.missing.get("attributions") or case.evidence.missing.get("champion", "")
    return "attributions were not measured" + (f": {why}" if why else "")
