"""What the checks of the exact artifact share: a measurement in a clean process against a maximum."""

from __future__ import annotations

from mlratchet.models.gates.result import CheckResult, against_bound, unknown


def at_most(kind: str, name: str, value: float | None, n: int, maximum: float, unit: str) -> CheckResult:
    """Over nothing, or below nothing, is no measurement."""
    if value is not None and (n < 1 or value < 0):
        return unknown(kind, name, f"<= {maximum:g}{unit}", f"measured {value:g} over {n}: not a measurement")
    return against_bound(kind, name, value, n, maximum=maximum, unit=unit)
