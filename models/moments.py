"""Moments as people read them: in UTC, to the second."""

from __future__ import annotations

import datetime as dt


def utc(at_s: float) -> str:
    """``2026-11-26T15:04:05Z`` of seconds since the epoch."""
    return dt.datetime.fromtimestamp(at_s, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
