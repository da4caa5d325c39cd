"""When a pipeline runs by itself: a cron line in a time zone, held against the calendar when the file is read."""

from __future__ import annotations

from zoneinfo import available_timezones

from mlratchet.models.config import StrictModel
from mlratchet.models.nearest import nearest_hint
from mlratchet.models.pipeline.cron import cron_problem
from mlratchet.models.pipeline.reading import is_written
from pydantic import ValidationInfo, field_validator


class ScheduleRef(StrictModel):
    """A cron line in a time zone. They are judged when a file is read: what was published runs as it did."""

    cron: str
    timezone: str = "UTC"

    @field_validator("cron")
    @classmethod
    def _is_met(cls, line: str, info: ValidationInfo) -> str:
        problem = cron_problem(line) if is_written(info.context) else ""
        if problem:
            raise ValueError(problem)
        return line

    @field_validator("timezone")
    @classmethod
    def _is_there(cls, zone: str, info: ValidationInfo) -> str:
        known = available_timezones()
        if is_written(info.context) and zone not in known:
            hint = nearest_hint(zone, sorted(known), otherwise="write a name of the IANA list, e.g. Europe/Berlin")
            raise ValueError(f"no such time zone; {hint}")
        return zone
