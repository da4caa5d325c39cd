"""Examples that are written column by column have the bytes that each has alone: they are identities."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from mlratchet.models.preparation.rows import table_of
from mlratchet.models.schema.fields import Schema
from mlratchet.models.schema.request import as_json
from mlratchet.models.sources.stored_examples import EXAMPLE, UNPREPARED, documents_of
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.workloads.examples import (
    cells_as_text,
    example_cells,
    table_of_examples,
    table_of_stored,
    told_cells,
)

SCHEMA = Schema.model_validate(
    {
        "label": "y",
        "fields": {
            "näme": {"kind": "text", "nullable": True},
            "size": {"kind": "number", "nullable": True},
            "colour": {"kind": "category", "values": ["red", "blue"], "nullable": True},
            "day": {"kind": "time", "nullable": True},
            "pair": {"kind": "tensor", "shape": [2], "nullable": True},
            "y": {"kind": "number"},
        },
    }
)
DAY = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
ROWS: list[dict[str, Any]] = [
    {"näme": 'say "hi"\n', "size": 0.1, "colour": "red", "day": DAY, "pair": [1.0, 2.5]},
    {"näme": "日本\\", "size": 1e22, "pair": [0.0, -1.0]},
    {"size": 3.0, "colour": "blue", "pair": [1e-7, 2.0]},
    {"näme": "", "size": -1e-9, "day": DAY, "pair": [1.0, 2.0]},
    {"pair": [0.0, 0.0]},
    {},
]


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], ROWS[4:], ROWS[2:4]])
def test_examples_are_those_of_one_row_after_the_other(rows: list[dict[str, Any]]) -> None:
    fields = SCHEMA.inputs
    table = table_of(rows, fields)
    values = [{name: table[name][row].as_py() for name in fields} for row in range(len(rows))]
    alone = [
        orjson.dumps({name: as_json(one[name], field) for name, field in fields.items() if one[name] is not None})
        for one in values
    ]
    assert [one.encode() for one in example_cells(table, SCHEMA).to_pylist()] == alone


def test_what_travels_is_text_and_nothing_is_empty() -> None:
    table = table_of(ROWS, SCHEMA.inputs)
    assert told_cells(table["colour"].combine_chunks(), SCHEMA.fields["colour"]).to_pylist() == [
        "red", "", "blue", "", "", "",
    ]  # fmt: skip
    assert told_cells(table["size"].combine_chunks(), SCHEMA.fields["size"]).to_pylist() == [
        "0.1", "1e+22", "3.0", "-1e-09", "", "",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("cells", "text"),
    [
        (pa.array([" a\t", None, "b"]), ["a", "", "b"]),
        (pa.array(["\x1ca", "\u3000b "]), ["a", "b"]),
        (pa.array([1, None]), ["1", ""]),
        (pa.array([b"a"]), ["ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"]),
    ],
)
def test_cells_are_the_text_that_was_delivered(cells: pa.Array, text: list[str]) -> None:
    assert cells_as_text(pa.chunked_array([cells])).to_pylist() == text


def test_stored_examples_become_the_same_table_at_once_and_one_by_one() -> None:
    schema = Schema.model_validate(
        {
            "label": "y",
            "fields": {
                "näme": {"kind": "text", "nullable": True},
                "size": {"kind": "number", "nullable": True},
                "colour": {"kind": "category", "nullable": True},
                "y": {"kind": "number"},
            },
        }
    )
    chance = np.random.default_rng(0)
    odd = [0.1, 1e22, -1e-9, 5e-324, 1.7976931348623157e308, -0.0, 123456789.123456789, 2.0**63]
    numbers = [*odd, *(chance.normal(size=200) * 10.0 ** chance.integers(-300, 300, 200)).tolist()]
    words = ['say "hi"\n', "日本\\", "", "2026-03-01", "\x00\u2028", "1"]
    rows: list[dict[str, Any]] = [{"size": number, "näme": words[n % 6]} for n, number in enumerate(numbers)]
    rows += [{}, {"colour": "red"}, {"colour": "null", "size": 3.0}]
    cells = example_cells(table_of(rows, schema.inputs), schema).to_pylist()
    held = Inputs.stack([{EXAMPLE: np.frombuffer(one.encode(), np.uint8)} for one in cells], (UNPREPARED,))
    alone = table_of_examples(documents_of(held), schema)
    found = table_of_stored(held, schema)
    assert found.equals(alone)
    assert np.array_equal(np.signbit(found["size"].to_numpy()), np.signbit(alone["size"].to_numpy()))
    assert found["size"].to_pylist()[: len(numbers)] == numbers
    blank = held.rows(slice(len(numbers), len(numbers) + 1))
    assert table_of_stored(blank, schema).equals(table_of_examples(documents_of(blank), schema))
