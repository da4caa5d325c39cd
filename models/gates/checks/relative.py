"""`relative`: the candidate is not much worse than a named version."""

from __future__ import annotations

from typing import Annotated, Literal

from mlratchet.models.gates.checks.base import SCORED_GATES, Needs
from mlratchet.models.gates.checks.case import NO_CHAMPION, Case
from mlratchet.models.gates.checks.pairing import Paired, threshold_of
from mlratchet.models.gates.pilot import Pilot
from mlratchet.models.gates.result import CheckResult, not_applicable
from mlratchet.models.metrics import Metric
from pydantic import Field


class RelativeCheck(Paired):
    """The candidate is at most `margin` worse than a named version, re-scored now on the same rows (paired)."""

    gates = SCORED_GATES
    wears = True
    margins = ("margin",)

    kind: Literal["relative"]
    version: Annotated[int, Field(ge=1)] | Literal["previous"]
    """A version's number, or `previous`: the champion before this one."""
    margin: float = Field(ge=0)
    compare: Literal["estimate", "interval"] = "interval"
    """`estimate`: the difference itself, without its error, must hold the margin."""

    def needs(self) -> Needs:
        """The other version, scored now."""
        return Needs(versions=(self.version,))

    def power_of(self, metric: Metric, pilot: Pilot) -> str:
        """Of the interval alone."""
        return super().power_of(metric, pilot) if self.compare == "interval" else ""

    def judge(self, case: Case) -> CheckResult:
        """Against a named version, scored now on the same rows."""
        floor = 0.0 - self.margin
        version = case.evidence.previous_version if self.version == "previous" else self.version
        if self.version == "previous" and (case.first_model or version == 0):
            why = NO_CHAMPION if case.first_model else "the ledger has no champion before this one"
            return not_applicable(self.kind, self.metric, threshold_of(floor, "the previous champion"), why)
        return self.judge_against_version(case, version, "previous champion", floor, self.compare)
