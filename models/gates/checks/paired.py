"""`non_inferiority`, `superiority`, `relative`, `anchor`: the candidate against another version, row by row."""

from __future__ import annotations

from typing import Annotated, Literal

from mlratchet.models.gates.checks.base import Statistical
from pydantic import Field

VersionNumber = Annotated[int, Field(ge=1)]


class NonInferiorityCheck(Statistical):
    """The candidate is at most `margin` worse than the champion, re-scored now on the same rows (paired)."""

    kind: Literal["non_inferiority"]
    metric: str
    margin: float = Field(gt=0)
    """In the metric's unit."""


class SuperiorityCheck(Statistical):
    """The candidate is better than the champion on the same rows (paired)."""

    kind: Literal["superiority"]
    metric: str
    margin: float = Field(default=0.0, ge=0)
    """Better by more than this, in the metric's unit."""


class RelativeCheck(Statistical):
    """The candidate is at most `margin` worse than a named version, re-scored now on the same rows (paired)."""

    kind: Literal["relative"]
    metric: str
    version: VersionNumber | Literal["previous"]
    """A version's number, or `previous`: the champion before this one."""
    margin: float = Field(ge=0)
    compare: Literal["estimate", "interval"] = "interval"
    """`estimate`: the difference itself, without its error, must hold the margin."""


class AnchorCheck(Statistical):
    """Cumulative drift: at most `maximum_loss` worse than a fixed version, however many small losses lie between."""

    kind: Literal["anchor"]
    metric: str
    version: VersionNumber | Literal["first"] = "first"
    """`first`: the first champion of the ledger."""
    maximum_loss: float = Field(gt=0)
    """In the metric's unit."""
