"""Times in Parquet as Spark, Impala and older Arrow write them (INT96).

Arrow reads them in nanoseconds, which hold no year before 1677 or behind 2262: an open end of 9999-12-31 came out as a
day of 1816, without a word. Microseconds hold all.
"""

from __future__ import annotations

from typing import Final, Literal, TypedDict


class TimeUnit(TypedDict):
    """As Arrow's readers take it."""

    coerce_int96_timestamp_unit: Literal["us"]


EVERY_YEAR: Final[TimeUnit] = {"coerce_int96_timestamp_unit": "us"}
