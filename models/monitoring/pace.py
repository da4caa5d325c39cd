"""How often something may be done by itself: a cooldown, and a budget of seven days."""

from __future__ import annotations

from collections.abc import Sequence

WEEK_S = 7 * 86_400.0


def too_often(ages_s: Sequence[float], *, cooldown_s: float, per_week: int, whose: str, what: str = "") -> str:
    """Why not again now, in words; empty where it may be. `ages_s`: of each time that it was done, seconds, below 0 for
    one that is ahead: what is far ahead is of a clock that was wrong, and counts for nothing. `whose`: cooldown and
    budget ("its", "the"); `what`: the budget is of."""
    newest_s = min(ages_s, key=abs, default=cooldown_s)
    if abs(newest_s) < cooldown_s:
        return f"{newest_s:.0f} s after the last, and {whose} cooldown is {cooldown_s:.0f} s"
    if sum(abs(age_s) < WEEK_S for age_s in ages_s) >= per_week:
        return f"{whose} budget of {per_week}{what} in seven days is used"
    return ""
