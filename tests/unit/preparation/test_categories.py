"""Categories and entities."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from mlratchet.models.errors import DataError
from mlratchet.models.preparation import categories
from mlratchet.models.preparation.categories import (
    CategoryOptions,
    CategoryPreparation,
    EntityOptions,
    EntityPreparation,
)
from mlratchet.models.preparation.vocabulary import packed, unpacked
from mlratchet.models.schema.fields import Field

SEEN = ["b"] * 3 + ["a"] * 2 + ["ä"] * 2 + ["rare"]


def table(values: list[Any]) -> pa.Table:
    return pa.table({"job": pa.array(values, pa.string())})


def codes(options: dict[str, Any], asked: list[Any], seen: list[Any] = SEEN, **field: Any) -> list[int]:
    one = CategoryPreparation({"job": Field(kind="category", **field)}, CategoryOptions(**options))
    state = one.fit(lambda: iter([table(seen)]))
    return one.apply(table(asked), state).array[:, 0].tolist()


def test_values_have_codes_in_the_order_of_letters_and_0_is_rare_or_unknown() -> None:
    assert codes({}, ["a", "b", "ä", "rare", "never seen", ""]) == [2, 3, 4, 0, 0, 0]


def test_not_given_is_a_code_of_its_own() -> None:
    assert codes({}, ["a", None], nullable=True) == [2, 1]


def test_counts_change_no_code() -> None:
    assert codes({}, ["a", "b", "ä"], seen=SEEN + ["ä"] * 50) == codes({}, ["a", "b", "ä"])


def test_of_too_many_values_the_commonest_stay() -> None:
    assert codes({"max_size": 2}, ["a", "b", "ä"]) == [2, 3, 0]  # of a and ä, equally common, the first


def test_a_value_that_lacks_where_none_may_is_refused() -> None:
    with pytest.raises(DataError, match="example 1: field 'job' is not given"):
        codes({}, ["a", None])


def test_more_values_than_a_category_has_end_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(categories, "MOST_CATEGORIES", 3)
    with pytest.raises(DataError, match=r"field 'job' has more than 3 different values; declare kind: entity or text"):
        codes({}, [])


def test_an_entity_that_training_did_not_know_is_in_the_cold_start_bucket() -> None:
    one = EntityPreparation({"job": Field(kind="entity", nullable=True)}, EntityOptions())
    state = one.fit(lambda: iter([table(SEEN[:4]), table(SEEN[4:])]))
    found = one.apply(table(["ä", "a", "b", "rare", "new", None]), state)
    assert (found.names, found.array.tolist()) == (("job",), [3, 1, 2, 0, 0, 0])
    assert [feature.size for feature in one.features(state)] == [4]


def test_the_size_of_a_category_counts_unknown_and_not_given() -> None:
    one = CategoryPreparation({"job": Field(kind="category")}, CategoryOptions())
    assert [feature.size for feature in one.features(one.fit(lambda: iter([table(SEEN)])))] == [5]


def test_a_column_in_chunks_has_the_codes_of_one() -> None:
    one = CategoryPreparation({"job": Field(kind="category")}, CategoryOptions())
    state = one.fit(lambda: iter([table(SEEN)]))
    chunks = pa.table({"job": pa.chunked_array([["b", "a"], [], ["a", "x"]], pa.string())})
    assert one.apply(chunks, state).array[:, 0].tolist() == [3, 2, 2, 0]


def test_names_are_unpacked_as_they_were_packed() -> None:
    names = ["", "a", "日本", "🙂 b"]
    assert unpacked(**packed(names)) == names
    assert unpacked(**packed([])) == []
