"""`data`: a measure of the delivery against a bound."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.gates.checks.base import Bounded


class DataCheck(Bounded):
    """A measure of the delivery (docs/gates.md lists them) against a bound."""

    kind: Literal["data"]
    measure: str
