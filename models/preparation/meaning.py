"""What prepared values mean, so that weights that were learnt on one fitted state can be carried over to another."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """Of a tensor, or of one column of a shared one."""

    name: str
    """As `Feature` has it."""
    form: str
    """Two with the same name and form are joined by `codes` or by `scale`; else nothing is known of how they relate."""
    codes: tuple[str, ...] = ()
    """What each code stands for, from 0 on."""
    unknown: int | None = None
    """The code of a value that training did not see."""
    scale: tuple[float, float] | None = None
    """Centre and spread: the value is (what was delivered - centre) / spread, and 0 where the spread is infinite."""
    gap: float | None = None
    """The value where nothing is given."""
    indicator: str | None = None
    """Name of the column that is 1 there."""
