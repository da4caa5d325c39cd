"""When something runs by itself."""

from __future__ import annotations

from mlratchet.models.config import StrictModel


class ScheduleRef(StrictModel):
    """A cron line in a time zone."""

    cron: str
    timezone: str = "UTC"
