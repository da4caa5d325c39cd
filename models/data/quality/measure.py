"""A measured value of a delivery, and what several measures need to know."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One measured value."""

    value: float
    n: int  # records it was taken over; 0: there was nothing to measure against
    detail: str = ""  # examples, for the reason a gate prints


@dataclass(frozen=True, kw_only=True)
class Names:
    """Of classes or labels by number, and of the input's columns."""

    classes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


def share(part: float, whole: int) -> float:
    """Of nothing it is 0."""
    return part / whole if whole else 0.0
