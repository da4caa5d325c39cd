"""By cluster and as given: near-duplicates stay together, and a column is believed."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlratchet.models.data.config import DataConfig
from mlratchet.models.data.split import SIDES, divided, sides_of
from mlratchet.models.data.split_rules import ClusterSplit, GivenSplit
from mlratchet.models.errors import DataError
from mlratchet.models.sources.record import Record
from pydantic import ValidationError

CLUSTER = ClusterSplit(by="cluster", validation=0.3, test=0.3)
GIVEN = GivenSplit(by="given", column="part", validation=("dev", "val"))


def record(name: str, *, content: str = "", group: str | None = None, part: str | None = None) -> Record:
    columns = {} if part is None else {"part": part}
    return Record(
        id=name, x=np.zeros(1, np.float32), y=0, content_sha256=content, group=group, columns=columns,
        where=f"rows.csv:{name}",
    )  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 9), st.none() | st.integers(0, 5)), min_size=1, max_size=40), st.randoms())
def test_what_shares_a_content_or_a_group_is_on_one_side_in_whatever_order(
    told: list[tuple[int, int | None]], order: random.Random
) -> None:
    records = [
        record(str(n), content=f"c{content}", group=None if group is None else f"g{group}")
        for n, (content, group) in enumerate(told)
    ]
    side = sides_of(records, CLUSTER)
    found = {one.id: side(one) for one in records}
    for key in ("content_sha256", "group"):
        together: dict[str, set[str | None]] = {}
        for one in records:
            if getattr(one, key) is not None:
                together.setdefault(getattr(one, key), set()).add(found[one.id])
        assert all(len(sides) == 1 for sides in together.values())
    shuffled = list(records)
    order.shuffle(shuffled)
    again = sides_of(shuffled, CLUSTER)
    assert {one.id: again(one) for one in shuffled} == found


def test_near_duplicates_are_found_by_whoever_is_asked_and_all_sides_are_used() -> None:
    def tens(records: Iterable[Record]) -> Mapping[str, str]:
        return {one.id: f"{int(one.id) // 10}" for one in records}

    records = [record(str(n)) for n in range(400)]
    kept, aside, side = divided(records, CLUSTER, tens)
    assert (len(kept), aside) == (400, [])
    by_ten = [{side(one) for one in records[at : at + 10]} for at in range(0, 400, 10)]
    assert all(len(sides) == 1 for sides in by_ten)
    assert set.union(*by_ten) == set(SIDES)
    assert side.words == "by cluster: 400 records have near-duplicates, which stay together"


def test_a_column_says_the_side_and_another_word_is_set_aside_with_its_place() -> None:
    words = ["train", "dev", "val", "test", "Train", "", "holdout"]
    records = [record(str(n), part=word) for n, word in enumerate(words)]
    kept, aside, side = divided(records, GIVEN)
    assert [(one.id, side(one)) for one in kept] == [
        ("0", "train"), ("1", "validation"), ("2", "validation"), ("3", "test")
    ]  # fmt: skip
    assert [(one.code, one.field, one.value) for one in aside] == [
        ("unknown_side", "part", "Train"), ("unknown_side", "part", ""), ("unknown_side", "part", "holdout")
    ]  # fmt: skip
    assert aside[2].reason == "rows.csv:6: column 'part': got 'holdout', expected one of train, dev, val, test"


def test_without_the_column_and_without_a_side_it_is_an_error() -> None:
    with pytest.raises(DataError, match=r"no record has a column 'part'; there are none: declare it under schema"):
        divided([record("1")], GIVEN)
    with pytest.raises(DataError, match=r"the validation side is empty with 3 records: as column 'part' says; set"):
        divided([record("1", part="train"), record("2", part="test"), record("3", part="x")], GIVEN)


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ({"by": "given"}, "column"),
        ({"by": "given", "column": "p", "train": ["a"], "test": ["a"]}, "'a' is said of two sides"),
        ({"by": "given", "column": "p", "test": []}, "at least 1"),
        ({"by": "cluster", "gap_days": 1}, "not permitted"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(split: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        DataConfig.model_validate({"split": split})
