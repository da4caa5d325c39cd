"""A request of few plain rows is prepared without a table: to the same bits, and not where something is wrong."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mlratchet.models.errors import DataError
from mlratchet.models.preparation.composed import PreparationPlan
from mlratchet.models.preparation.section import PreparationSection
from mlratchet.models.schema.few import MOST
from mlratchet.models.schema.fields import Schema
from mlratchet.models.schema.request import FieldError, parse_examples
from mlratchet.models.sources.record import ExampleSpec
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.workloads.examples import Preparer

FIELDS: dict[str, Any] = {
    "age": {"kind": "number", "nullable": True},
    "rooms": {"kind": "number", "whole": True, "minimum": 0, "maximum": 9},
    "town": {"kind": "category", "nullable": True},
    "paid": {"kind": "category", "values": ["card", "cash"]},
    "who": {"kind": "entity"},
    "said": {"kind": "text", "nullable": True},
}
ROW: dict[str, Any] = {"age": 31.5, "rooms": 4, "town": "Bern", "paid": "card", "who": "u1", "said": "very good"}
SECTIONS = [
    {},
    {"kinds": {"number": {"log": True, "scale": "robust", "clip": [0.1, 0.9], "limit": 2.0}}},
    {"kinds": {"number": {"indicator": True, "scale": "none"}, "text": {"tokens": "words", "lowercase": True}}},
]


def preparer(fields: dict[str, Any], section: dict[str, Any]) -> Preparer:
    schema = Schema.model_validate({"fields": fields | {"left": {"kind": "category"}}, "label": "left"})
    rows = [
        ROW | {"age": None if at % 5 == 0 else at / 3, "rooms": at % 10, "town": f"t{at % 3}", "who": f"u{at % 4}"}
        for at in range(40)
    ]
    plan = PreparationPlan(schema, PreparationSection.model_validate(section))
    wanted = [{name: one for name, one in row.items() if name in fields} for row in rows]
    fitted = plan.fit(lambda: iter([parse_examples(wanted, schema)])).to_bytes()
    about = ExampleSpec(
        schema=schema.model_dump_json(),
        preparation=plan.options.model_dump_json(),
        fitted=base64.b64encode(fitted).decode(),
    )
    return Preparer(about)


PREPARERS = [preparer(FIELDS, one) for one in SECTIONS]
ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.just([1]), st.just({}),
    st.sampled_from([10**400, 3.4e38, 3.5e38, -0.0, 2**63, "card", " card", "é", "a\x1cb", "\ud800", "Bern", "t1"]),
)  # fmt: skip
CHANGES = st.dictionaries(st.sampled_from([*FIELDS, "tawn", ""]), ANYTHING, max_size=2)


def rows_with(changes: list[dict[str, Any]], without: str) -> list[Any]:
    return [{name: one for name, one in (ROW | change).items() if name != without} for change in changes]


def same(a: Inputs, b: Inputs) -> bool:
    ours, theirs = a.arrays(), b.arrays()
    return list(ours) == list(theirs) and all(
        (one.dtype, one.shape, one.tobytes()) == (theirs[name].dtype, theirs[name].shape, theirs[name].tobytes())
        for name, one in ours.items()
    )


@pytest.mark.parametrize("ours", PREPARERS)
@settings(max_examples=120)
@given(changes=st.lists(CHANGES, min_size=1, max_size=4), without=st.sampled_from(["", "", *FIELDS]))
@example(changes=[{}], without="")
@example(changes=[{"age": None}, {"town": None}], without="said")
@example(changes=[{"rooms": True}], without="")
@example(changes=[{"paid": "cheque"}], without="")
@example(changes=[{"rooms": 9.5}, {}], without="")
def test_few_rows_are_prepared_as_a_table_of_them_is(ours: Preparer, changes: list[Any], without: str) -> None:
    documents = rows_with(changes, without)
    few = ours.few(documents)
    if few is None:
        return
    assert same(few, ours.prepared(parse_examples(documents, ours.schema)))


@pytest.mark.parametrize("ours", PREPARERS)
def test_plain_rows_take_no_table_and_others_do(ours: Preparer) -> None:
    assert ours.few([ROW]) is not None
    assert ours.few([ROW, ROW | {"age": None}, ROW | {"rooms": 2.0, "town": "nobody knows"}]) is not None
    assert ours.few([ROW] * MOST) is not None
    assert ours.few([ROW] * (MOST + 1)) is None
    for wrong in ({"rooms": None}, {"rooms": -1}, {"paid": "cheque"}, {"age": "7"}, {"age": True}, {"more": 1}):
        with pytest.raises((FieldError, DataError)):
            ours.prepared(parse_examples([ROW | wrong], ours.schema))
        assert ours.few([ROW | wrong]) is None
    assert ours.few([ROW, 7]) is None


def test_a_schema_with_another_kind_takes_a_table() -> None:
    ours = preparer(FIELDS, {})
    fields = {"age": FIELDS["age"], "since": {"kind": "time", "nullable": True}}
    assert ours.few([ROW]) is not None
    assert preparer(fields, {}).few([{"age": 3.0, "since": None}]) is None
