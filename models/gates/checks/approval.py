"""`approval`: a named person said yes to this version under this policy, and the answer still counts."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.pipeline.strict import StrictModel
from pydantic import Field, field_validator


class ApprovalCheck(StrictModel):
    """Waits for one of `approvers`."""

    kind: Literal["approval"]
    approvers: tuple[str, ...] = Field(min_length=1, strict=False)
    """Names as in the trusted keys."""
    expires_after_hours: float = Field(default=72.0, gt=0, le=8760)
    """An approval older than this counts no longer."""

    @field_validator("approvers")
    @classmethod
    def _named_once(cls, approvers: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(approvers)) != len(approvers) or not all(name.strip() for name in approvers):
            raise ValueError(f"name every approver once, got {list(approvers)}")
        return approvers
