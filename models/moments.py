"""Moments as people write and read them: in UTC where no zone is said."""

from __future__ import annotations

import datetime as dt


def utc(at_s: float) -> str:
    """``2026-11-26T15:04:05Z``, to the second, of seconds since the epoch."""
    return dt.datetime.fromtimestamp(at_s, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def us_of(text: str) -> int:
    """Microseconds since 1970 in UTC of a moment as ISO 8601; without a zone it is UTC. Raises ``ValueError``."""
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError as exc:
        raise ValueError(f"expected a time as ISO 8601, e.g. '2026-01-31', got {text!r}") from exc
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)
    return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
