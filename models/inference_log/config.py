"""What a pipeline's server writes down of its requests, how long it is kept, and whose labels count."""

from __future__ import annotations

from typing import Annotated, Literal

from mlratchet.models.config import StrictModel
from pydantic import Field, field_validator

Names = Annotated[tuple[str, ...], Field(strict=False)]


class LogConfig(StrictModel):
    """The inference log of one pipeline."""

    enabled: bool = True
    """Whether requests are written down at all. Without, nothing can be monitored, and no canary is judged."""
    fields: Literal["all"] | Names = "all"
    """Fields of the schema that are written as they came: all, or a list; the others as `others` says."""
    others: Literal["drop", "hash"] = "drop"
    """What is written of a field that is not in the list: nothing, or a keyed hash, which tells equal values apart and
    no value."""
    flush_rows: int = Field(default=10_000, ge=1, le=1_000_000)
    """A file is written once so many rows wait,"""
    flush_seconds: float = Field(default=15.0, gt=0, le=3600)
    """or the first of them has waited for so long."""
    retention_days: float = Field(default=90.0, gt=0)
    """How long a row is kept."""
    sample: float = Field(default=0.01, ge=0, le=1)
    """Share of pictures and sounds that are stored whole, chosen by their digest; of the others the digest alone."""

    def how(self, field: str) -> Literal["whole", "hash", "drop"]:
        """What is written of a field."""
        return "whole" if self.fields == "all" or field in self.fields else self.others


class LabelsConfig(StrictModel):
    """Where labels come from that arrive after the answer."""

    prefix: str | None = None
    """Objects below it hold labels: a record names its request (`request`), the number of the instance in it (`row`;
    absent: 0) and what is true (`label`). null: labels come through `/feedback` alone."""
    bucket: str | None = None
    """In which bucket; null: the one with raw data. Whoever may write there is a declared writer."""
    format: Literal["csv", "parquet", "jsonl"] = "csv"
    """How those objects are read: as a source of that format is."""
    request: str = "request_id"
    """The column with the id that the server gave the request (`x-request-id`)."""
    row: str = "row"
    """The column with the number of the instance in its request."""
    label: str = "label"
    """The column that says what is true."""
    writers: Names = ()
    """Tokens, by name, whose `/feedback` counts; none: each that has the scope `feedback`."""
    after_hours: float = Field(default=24.0, ge=0)
    """How long after its request a label is waited for, before its absence counts."""

    @field_validator("prefix")
    @classmethod
    def _is_a_folder(cls, value: str | None) -> str | None:
        if value is not None and (not value.strip("/") or value.startswith("/") or ".." in value.split("/")):
            raise ValueError(f"{value!r} is no prefix of objects")
        return value if value is None or value.endswith("/") else f"{value}/"
