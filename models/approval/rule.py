"""Whose word is asked for, how many, and how long it counts: what a policy says of an approval."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.config import StrictModel
from pydantic import Field, field_validator, model_validator


class ApprovalRule(StrictModel):
    """`minimum` of `approvers` must agree; a rejection by one of them is a no."""

    approvers: tuple[str, ...] = Field(min_length=1, strict=False)
    """Names as in the trusted keys."""
    expires_after_hours: float = Field(default=72.0, gt=0, le=8760)
    """An approval older than this counts no longer."""
    minimum: int = Field(default=1, ge=1)
    """Different approvers who must agree."""
    require: Literal["signature", "ui"] = "signature"
    """`signature`: an approval counts only when the approver's own key signed it (`ratchet approve`). `ui`: the form in
    Prefect's UI is enough; Prefect knows no users, so whoever reaches the UI can fill in any name."""
    wait_hours: float = Field(default=24.0, ge=0, le=8760)
    """How long a run waits, paused, before it ends as inconclusive; 0: it does not wait. An approval that comes later
    still counts: `ratchet promote`, or the next run."""

    @field_validator("approvers")
    @classmethod
    def _named_once(cls, approvers: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(approvers)) != len(approvers) or not all(name.strip() for name in approvers):
            raise ValueError(f"name every approver once, got {list(approvers)}")
        return approvers

    @model_validator(mode="after")
    def _enough_approvers(self) -> ApprovalRule:
        if self.minimum > len(self.approvers):
            raise ValueError(f"minimum {self.minimum} of {len(self.approvers)} approvers could never pass")
        return self
