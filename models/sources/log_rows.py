"""`source.inference_log`: rows that clients sent and that were labelled since, beside what is delivered."""

from __future__ import annotations

from collections.abc import Mapping

from mlratchet.models.config import StrictModel
from pydantic import Field

OBJECT = "inference-log-"
"""Begins the name of the object that holds them, below the source prefix: no delivered one may be called so."""
AS_WRITTEN = {"encoding": "utf-8", "header": None, "delimiter": ",", "quotes": "cells"}
"""Options by which that object is read, whatever the source says of those that are delivered."""
SAID = "of the inference log"  # begins what is said of how many there are


class LoggedRows(StrictModel):
    """Which rows of the inference log are trained on."""

    days: float = Field(default=30.0, gt=0, le=3650)
    """Requests of so long ago are left out."""
    share: float = Field(default=1.0, gt=0, le=1)
    """Of the labelled rows, the part that is taken: by a hash of the request's id, so that a row is in or out for
    good."""
    most_rows: int = Field(default=100_000, ge=1, le=10_000_000)
    """The newest of those."""
    most_share: float | None = Field(default=None, gt=0, lt=1, exclude_if=lambda value: value is None)
    """Of the rows that are trained on, the part that may come from the log: where more do, the newest are kept. null:
    all of them. Rows that are judged on are not counted, and stay."""
    weight: float = Field(default=1.0, gt=0, le=1000, exclude_if=lambda value: value == 1)
    """How often each of them counts in the loss of the training; what is measured counts every row once."""


def logged_weight(config: LoggedRows | None) -> float:
    """How often a row of the log counts in the loss; as any other where the file says nothing."""
    return config.weight if config is not None else 1.0


def in_words(counts: Mapping[str, int]) -> str:
    """``of the inference log 60 trained on, 10 validation, 14 test``; empty where there are none. `counts`: by side."""
    if not any(counts.values()):
        return ""
    judged = ", ".join(f"{counts.get(side, 0):,} {side}" for side in ("validation", "test"))
    return f"{SAID} {counts.get('train', 0):,} trained on, {judged}"


def weighed(line: str, config: LoggedRows | None) -> str:
    """What was read, with the weight of the rows of the log behind it where it tells of some."""
    if SAID not in line or logged_weight(config) == 1:
        return line
    return f"{line}; each of the log has weight {logged_weight(config):g} in the loss"
