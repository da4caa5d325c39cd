"""Measures are taken of whole tables: they say what is said of each record."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from mlratchet.models.data.quality import contents
from mlratchet.models.data.quality.contents import Contents
from mlratchet.models.data.quality.inputs import InputValues
from mlratchet.models.data.reading import reading_of
from mlratchet.models.data.records import Records, records_of
from mlratchet.models.data.split import NO_SIDE, SIDES, ClusterSplit, GivenSplit, SplitConfig, SplitRule, sides_of
from mlratchet.models.data.split_rules import TimeSplit
from mlratchet.models.sources.record import Record, Remark
from mlratchet.models.sources.record_table import packed
from mlratchet.models.tensors.spec import TensorSpec

SPECS = (
    TensorSpec(name="pair", shape=(2,), dtype="float32"),
    TensorSpec(name="walk", shape=(2,), dtype="float32", ragged=True),
    TensorSpec(name="words", shape=(), dtype="int64", ragged=True),
)


def made(count: int = 200) -> list[Record]:
    rng = np.random.default_rng(1)
    few = np.asarray([0, 0, 1, np.nan, np.inf], np.float32)
    return [
        Record(
            id=f"r{number:03d}", y=int(rng.integers(2)),
            x={
                "pair": rng.choice(few, 2), "walk": rng.choice(few, (int(rng.integers(3)), 2)),
                "words": rng.integers(0, 2, int(rng.integers(4))),
            },
            content_sha256="" if number % 3 else f"c{number % 9}", group=f"g{number % 7}" if number % 2 else None,
            columns={"part": SIDES[number % 3] if number % 5 else "elsewhere"} if number % 4 else {},
            time_us=None if number % 11 == 0 else number * 3_600_000_000,
            remarks=(Remark(code="odd", words="w"),) if number % 50 == 0 else (),
        )
        for number in range(count)
    ]  # fmt: skip


def told_of_each(records: list[Record]) -> tuple[int, int]:
    constant = broken = 0
    for one in records:
        several = [x for x in one.x.values() if x.size > 1]  # type: ignore[union-attr]  # all are named
        constant += bool(several) and all(x.min() == x.max() for x in several)
        broken += not all(np.isfinite(x).all() for x in one.x.values())  # type: ignore[union-attr]  # as above
    return constant, broken


@pytest.mark.parametrize("piece", [1, 7, 200])
def test_constant_and_broken_inputs_are_those_of_each_record(piece: int) -> None:
    records, found = made(), InputValues()
    for at in range(0, len(records), piece):
        found.add(packed(records[at : at + piece], SPECS))
    measures = found.measures()
    constant, broken = told_of_each(records)
    assert 0 < constant < broken < len(records)
    assert measures["constant_input_fraction"].value * len(records) == pytest.approx(constant)
    assert measures["non_finite_fraction"].value * len(records) == pytest.approx(broken)


def test_a_content_that_is_not_told_is_the_input_s() -> None:
    records = [
        Record(id=str(number), x=np.asarray([number % 4, 1.0]), y=number % 2, content_sha256="")
        for number in range(8)
    ]  # fmt: skip
    found, held = Contents(len(records)), records_of(records)
    found.add(packed(records), np.asarray([0, 0, 0, 0, 2, 2, 2, 2], np.uint8))
    measures = found.measures(held)
    assert measures["duplicate_fraction"].value == 1
    assert measures["conflicting_label_fraction"].value == 0
    assert measures["cross_split_duplicate_fraction"].value == 1
    assert found.trained == 4


def test_equals_are_found_in_parts_of_bounded_size_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    told = rng.integers([4000, 2], size=(6000, 2)).tolist()
    records = [
        Record(id=f"{number:06d}", x=np.zeros(1), y=label, content_sha256=f"{content}")
        for number, (content, label) in enumerate(told)
    ]
    held, sides = records_of(records), rng.integers(0, 3, 6000).astype(np.uint8)

    def measured() -> Contents:
        found = Contents(len(records))
        for at in range(0, 6000, 1000):
            found.add(packed(records[at : at + 1000]), sides[at : at + 1000])
        return found

    whole = measured()
    monkeypatch.setattr(contents, "PART_RECORDS", 500)
    monkeypatch.setattr(contents, "HELD_BYTES", 0)
    parts = measured()
    sizes = [len(part) for part in map(contents._facts, parts._parts)]
    assert len(sizes) == 12
    assert max(sizes) < 1000
    assert parts.measures(held) == whole.measures(held)
    assert parts.trained == whole.trained == (sides == 0).sum()
    assert (parts._sides() == sides).all()
    assert all(one.detail for name, one in parts.measures(held).items() if name != "duplicate_fraction")


RULES: dict[str, Callable[[], SplitRule]] = {
    "hash": lambda: SplitConfig(test=0.3),
    "time": lambda: TimeSplit(by="time", test=0.2, gap_days=0.5),
    "cluster": lambda: ClusterSplit(by="cluster", test=0.3),
    "given": lambda: GivenSplit(by="given", column="part"),
}


@pytest.mark.parametrize("rule", RULES)
def test_the_sides_of_a_table_are_those_of_its_records(rule: str) -> None:
    records = made()
    held: Records = records_of(records, SPECS)
    sides = sides_of(held, RULES[rule]())
    found = [number for table in held.tables() for number in sides.in_table(table).tolist()]
    each = [sides(one) for one in records]
    assert found == [NO_SIDE if side is None else SIDES.index(side) for side in each]
    assert set(each) >= set(SIDES)


def test_remarks_are_counted_without_the_records_that_have_none() -> None:
    records = made()
    line = reading_of(records_of(records, SPECS), []).line()
    assert line == reading_of(records, []).line()
    assert "4 odd (r000, r050, r100, ...)" in line
