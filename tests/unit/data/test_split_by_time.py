from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlratchet.models.data.config import DataConfig, SplitConfig
from mlratchet.models.data.split import IN_GAP, divided, sides_of
from mlratchet.models.data.split_rules import TimeSplit
from mlratchet.models.errors import DataError
from mlratchet.models.identity.canonical import digest
from mlratchet.models.sources.record import Record
from pydantic import ValidationError

DAY_US = 86_400_000_000


def record(name: str, day: float | None, group: str | None = None) -> Record:
    at = None if day is None else round(day * DAY_US)
    return Record(id=name, x=np.zeros(1, np.float32), y=0, time_us=at, group=group, where=f"rows.csv:{name}")


def days(count: int) -> list[Record]:
    return [record(str(day), day) for day in range(count)]


def sides(records: list[Record], rule: TimeSplit) -> dict[str, list[str]]:
    kept, _, side = divided(records, rule)
    return {one: [r.id for r in kept if side(r) == one] for one in ("train", "validation", "test")}


def test_the_newest_are_judged_on_and_the_oldest_trained_on_in_whatever_order_they_are_read() -> None:
    records = days(20)
    random.Random(0).shuffle(records)
    found = {
        side: sorted(map(int, names))
        for side, names in sides(records, TimeSplit(by="time", validation=0.2, test=0.2)).items()
    }
    assert found == {"train": [*range(12)], "validation": [*range(12, 16)], "test": [*range(16, 20)]}


@given(st.lists(st.integers(0, 50), min_size=12, max_size=60), st.integers(0, 3))
def test_no_side_reaches_into_the_time_of_a_newer_one(moments: list[int], gap: int) -> None:
    rule = TimeSplit(by="time", validation=0.3, test=0.3, gap_days=gap)
    side = sides_of([record(str(n), day) for n, day in enumerate(moments)], rule)
    told: dict[str | None, list[int]] = {}
    for n, day in enumerate(moments):
        told.setdefault(side(record(str(n), day)), []).append(day)
    order = [told[one] for one in ("train", "validation", "test") if one in told]
    assert all(max(older) + gap <= min(newer) and max(older) < min(newer) for older, newer in pairwise(order))


def test_records_within_the_gap_are_set_aside_with_the_reason() -> None:
    kept, aside, _ = divided(days(20), TimeSplit(by="time", validation=0.2, test=0.2, gap_days=2))
    assert sorted(one.where for one in aside) == ["rows.csv:10", "rows.csv:11", "rows.csv:14", "rows.csv:15"]
    assert {one.code for one in aside} == {IN_GAP}
    assert aside[0].reason == (
        "rows.csv:10: 1970-01-11T00:00:00Z is within 2 days before 1970-01-13T00:00:00Z, where validation begins"
    )
    assert len(kept) == 16


def test_declared_dates_cut_whatever_is_delivered() -> None:
    rule = TimeSplit(by="time", validation_from="1970-01-05", test_from="1970-01-07T12:00:00+00:00")
    assert sides(days(10), rule) == {"train": list("0123"), "validation": list("456"), "test": list("789")}
    assert sides(days(30), rule)["train"] == list("0123")


def test_a_record_without_a_time_is_set_aside_by_its_place() -> None:
    _, aside, _ = divided([*days(20), record("99", None)], TimeSplit(by="time"))
    assert [(one.where, one.code) for one in aside] == [("rows.csv:99", "missing_time")]


@pytest.mark.parametrize(
    ("records", "rule", "words"),
    [
        ([record("1", None)], {}, "no record tells its time; name a field of kind time in schema.time"),
        ([record(str(n), 0) for n in range(9)], {}, "the train and the validation side is empty with 9 records"),
        (
            days(20),
            {"gap_days": 5},
            "the validation side is empty .*before each are left out; set aside: 8 in_split",
        ),
        (
            days(9),
            {"validation_from": "1999-01-01", "test_from": "2000-01-01"},
            "the validation and the test side is empty .*01-01T00:00:00Z to 1970-01-09T00:00:00Z, validation from 1999",
        ),
    ],
)
def test_a_side_without_records_is_an_error_that_says_where_the_cuts_are(
    records: list[Record], rule: dict[str, object], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        divided(records, TimeSplit.model_validate({"by": "time", **rule}))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"validation_from": "2026-01-01"}, "declared together"),
        ({"validation_from": "2026-02-01", "test_from": "2026-01-01"}, "is not before test_from"),
        ({"validation_from": "2026-01-01", "test_from": "2026-02-01", "test": 0.1}, "either shares .* or dates"),
        ({"validation_from": "soon", "test_from": "2026-02-01"}, "expected a time as ISO 8601"),
        ({"gap_days": -1}, "greater than or equal to 0"),
        ({"validation": 0.5, "test": 0.5}, "leave nothing to train on"),
        ({"salt": "x"}, "not permitted"),
    ],
)
def test_a_rule_that_cannot_cut_is_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        DataConfig.model_validate({"split": {"by": "time", **options}})


def test_what_pipelines_of_before_say_of_their_split_keeps_its_identity() -> None:
    before = {"rows_per_shard": 1024, "split": {"salt": "ratchet", "test": 0.25, "validation": 0.15}}
    assert digest(DataConfig().model_dump(mode="json")) == digest(before)
    said = DataConfig.model_validate({"split": {"by": "id", "test": 0.3}})
    assert said == DataConfig(split=SplitConfig(test=0.3))
    assert DataConfig.model_validate({"split": {"by": "time"}}).split == TimeSplit(by="time")
    with pytest.raises(ValidationError, match="unknown rule in by; there are id, group"):
        DataConfig.model_validate({"split": {"by": "size"}})


@given(st.sets(st.text(min_size=1, max_size=5), min_size=1), st.sets(st.text(min_size=1, max_size=5)), st.booleans())
def test_by_id_or_group_no_record_ever_changes_side_however_deliveries_grow(
    first: set[str], more: set[str], grouped: bool
) -> None:
    rule = SplitConfig(by="group" if grouped else "id")
    then = [record(name, None, group=name[:1] if grouped else None) for name in sorted(first)]
    now = [record(name, 3.0, group=name[:1] if grouped else None) for name in sorted(more | first, reverse=True)]
    before, after = sides_of(then, rule), sides_of(now, rule)
    assert [before(one) for one in then] == [after(one) for one in then]
    if grouped:
        assert len({(one.group, after(one)) for one in now}) == len({one.group for one in now})


def test_a_date_of_a_pipeline_file_is_utc() -> None:
    rule = TimeSplit(by="time", validation_from="1970-01-05", test_from="1970-01-07")
    side = sides_of(days(9), rule)
    just_before = datetime(1970, 1, 5, tzinfo=UTC) - timedelta(microseconds=1)
    assert side(record("x", just_before.timestamp() / 86400)) == "train"
