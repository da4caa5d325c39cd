"""A measured value of a delivery, and what several measures need to know."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from mlratchet.models.sources.record import Record


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


def ids_at(records: Iterable[Record], places: Iterable[int]) -> list[str]:
    """The ids of records at these places of the order; reads no further than the last of them."""
    wanted = sorted(int(place) for place in places)
    if not wanted:
        return []
    asked = set(wanted)
    return [one.id for place, one in enumerate(islice(iter(records), wanted[-1] + 1)) if place in asked]
