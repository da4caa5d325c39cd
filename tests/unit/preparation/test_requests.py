"""A client's example, as JSON, becomes the bits of the training row that it is."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
from mlratchet.models.preparation.composed import PreparationPlan
from mlratchet.models.preparation.rows import table_of
from mlratchet.models.preparation.section import PreparationSection
from mlratchet.models.schema.request import as_json, parse_example, parse_examples

from tests.unit.preparation.examples import FIELDS, rows, schema_of
from tests.unit.preparation.test_every_kind import SECTIONS, bits


def valid(row: dict[str, Any]) -> dict[str, Any]:
    """Without what the schema sets aside: strange letters, and texts of nothing, which are not given."""
    letters = "".join(letter for letter in (row["dna"] or "").upper() if letter in "ACGTN")
    return {**row, "dna": letters or None, "note": row["note"] or None}


def test_an_example_in_json_becomes_the_bits_of_its_row() -> None:
    schema = schema_of(*FIELDS)
    plan = PreparationPlan(schema, PreparationSection.model_validate(SECTIONS["as usual"]))
    made = [valid(row) for row in rows(30)]
    table: pa.Table = table_of(made, FIELDS)
    state = plan.fit(lambda: iter([table]))
    expected = bits(plan.apply(table, state))
    sent = [
        json.loads(json.dumps({name: as_json(value, FIELDS[name]) for name, value in row.items()}))
        for row in table.to_pylist()
    ]
    assert bits(plan.apply(parse_examples(sent, schema), state)) == expected
    for at, document in enumerate(sent):
        given = {name: value for name, value in document.items() if value is not None}
        found = bits(plan.apply(parse_example(given, schema), state))
        assert {name: column[0] for name, column in found.items()} == {n: rows[at] for n, rows in expected.items()}
