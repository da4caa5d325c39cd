"""`anchor`: many small losses do not add up, measured against a fixed version."""

from __future__ import annotations

from typing import Annotated, Literal

from mlratchet.models.gates.checks.base import SCORED_GATES, Needs
from mlratchet.models.gates.checks.case import NO_CHAMPION, Case
from mlratchet.models.gates.checks.pairing import Paired, threshold_of
from mlratchet.models.gates.result import CheckResult, not_applicable
from pydantic import Field


class AnchorCheck(Paired):
    """Cumulative drift: at most `maximum_loss` worse than a fixed version, however many small losses lie between."""

    gates = SCORED_GATES
    wears = True
    holds_level = True
    margins = ("maximum_loss",)

    kind: Literal["anchor"]
    version: Annotated[int, Field(ge=1)] | Literal["first"] = "first"
    """`first`: the first champion of the ledger."""
    maximum_loss: float = Field(gt=0)
    """In the metric's unit."""

    @property
    def compares(self) -> bool:
        """A version with a number is there before the first champion, too."""
        return self.version == "first"

    def needs(self) -> Needs:
        """The fixed version, scored now."""
        return Needs(versions=(self.version,))

    def judge(self, case: Case) -> CheckResult:
        """Against a fixed version: the loss since then, not since the last promotion."""
        floor = -self.maximum_loss
        if self.version == "first" and case.first_model:
            return not_applicable(self.kind, self.metric, threshold_of(floor, "the first"), NO_CHAMPION)
        version = case.evidence.anchor_version if self.version == "first" else self.version
        return self.judge_against_version(case, version, "first champion", floor)
