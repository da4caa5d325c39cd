"""What follows from a finding: the rules of `monitoring.actions` in a pipeline file."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.config import StrictModel
from mlratchet.models.monitoring.finding import Severity
from pydantic import Field

Action = Literal["retrain", "hold", "rollback", "ask", "notify"]


class ActionRule(StrictModel):
    """One rule: a finding of this kind and at least this severity has this consequence."""

    on: str = Field(pattern=r"^(inputs|outputs|quality|service|data|hardware)(:[^:].*)?$")
    """Kind of a finding, or `kind:subject`: `quality`, `inputs:price`."""
    severity: Severity = "alarm"
    do: Action
    cooldown: float = Field(default=86_400.0, ge=0)
    """Seconds after one consequence of this rule in which it has no other."""
    budget_per_week: int = Field(default=2, ge=1)
    """Consequences of this rule in any seven days."""
