"""What a delivery changes against a schema: compatible, a question, or breaking; and a schema that takes it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from mlratchet.models.schema.change import SchemaChanges, difference
from mlratchet.models.schema.fields import Field, Schema
from mlratchet.models.schema.typing import typed

ROWS = 40
X = [f"{value:.3f}" for value in np.random.default_rng(0).uniform(0, 9, ROWS)]
SCHEMA = Schema(
    fields={
        "Preis": Field(kind="number", minimum=0, maximum=10),
        "Menge": Field(kind="number", whole=True),
        "Land": Field(kind="category", values=("DE", "AT")),
        "wann": Field(kind="time", format="%d.%m.%Y"),
        "Retoure": Field(kind="category", values=("ja", "nein")),
    },
    label="Retoure",
    id="Nr",
)


def cycle(*values: str | None) -> list[str | None]:
    return [values[place % len(values)] for place in range(ROWS)]


def delivery(**changed: Any) -> pa.Table:
    columns: dict[str, Any] = {
        "Nr": [f"B-{n}" for n in range(ROWS)],
        "Preis": X,
        "Menge": cycle("1", "2", "3"),
        "Land": cycle("DE", "AT"),
        "wann": cycle("01.02.2026", "13.02.2026"),
        "Retoure": cycle("ja", "nein"),
    } | changed
    arrays = {name: pa.array(values) for name, values in columns.items() if values is not None}
    return pa.table({**arrays, "@where": pa.array([f"n.csv:{n + 2}" for n in range(ROWS)])})


def told(**changed: Any) -> tuple[list[tuple[str, str, str]], SchemaChanges]:
    found = difference(SCHEMA, delivery(**changed))
    return [(one.field, one.effect, one.words) for one in found.changes], found


def test_a_delivery_like_those_before_changes_nothing() -> None:
    changes, found = told()
    assert changes == []
    assert found.compatible
    assert found.proposed == SCHEMA


@pytest.mark.parametrize(
    ("changed", "field", "effect", "words"),
    [
        ({"Menge": None}, "Menge", "breaking", "the column is gone"),
        ({"Preis": None, "preis": X}, "Preis", "breaking", "the column is gone, and 'preis' is new: was it renamed?"),
        ({"Nr": None}, "Nr", "breaking", "the id column is gone"),
        ({"neu": X}, "neu", "compatible", "a new column (numbers"),
        ({"Land": cycle("DE", "AT", "CH", "DE")}, "Land", "question", "new categories: 'CH' (10)"),
        ({"Land": cycle("DE", "DE")}, "Land", "question", "is the same in every row"),
        ({"Retoure": cycle("ja", "nein", "doch", "ja")}, "Retoure", "breaking", "new classes: 'doch' (10)"),
        ({"Preis": ["-3", *X[1:]]}, "Preis", "question", "1 rows (2.5%) are beyond minimum, as far as -3.0"),
        ({"Preis": ["99", *X[1:]]}, "Preis", "question", "beyond maximum, as far as 99.0"),
        ({"Preis": ["", *X[1:]]}, "Preis", "question", "1 rows (2.5%) lack it"),
        ({"Preis": ["NA", *X[1:]]}, "Preis", "question", "hold 'NA': does it mean not given?"),
        ({"Preis": ["teuer", *X[1:]]}, "Preis", "question", "1 rows (2.5%) cannot be read: got 'teuer'"),
        ({"Preis": cycle("hoch", "tief")}, "Preis", "breaking", "it looks like category"),
        ({"Menge": cycle("1.5", "2", "3")}, "Menge", "question", "have a fraction"),
        ({"wann": cycle("2026-02-01", "2026-02-13")}, "wann", "breaking", "expected a time as %d.%m.%Y"),
        ({"Menge": cycle("1,234", "2,345")}, "Menge", "breaking", "'1,234' is 1.234 where"),
    ],
)  # fmt: skip
def test_each_kind_of_change_is_told_with_its_effect(
    changed: dict[str, Any], field: str, effect: str, words: str
) -> None:
    changes, found = told(**changed)
    mine = [one for one in changes if one[0] == field]
    assert [one[1] for one in mine] == [effect], changes
    assert words in mine[0][2]
    assert found.compatible == (effect == "compatible")


@pytest.mark.parametrize(
    "changed",
    [
        {"Menge": None},
        {"Preis": None, "preis": X},
        {"Land": cycle("DE", "AT", "CH", "DE")},
        {"Retoure": cycle("ja", "nein", "doch", "ja")},
        {"Preis": ["-3", "", "NA", "99", *X[4:]]},
        {"Preis": cycle("hoch", "tief")},
        {"Menge": cycle("1.5", "2", "3")},
        {"wann": cycle("2026-02-01", "2026-02-13")},
        {"neu": X},
    ],
)
def test_the_proposed_schema_takes_the_delivery_whole(changed: dict[str, Any]) -> None:
    _, found = told(**changed)
    table, rejects = typed(delivery(**changed), found.proposed)
    assert rejects == []
    assert table.num_rows == ROWS
    assert all(one.effect != "breaking" for one in difference(found.proposed, delivery(**changed)).changes)


def test_categories_that_no_row_has_are_compatible() -> None:
    schema = SCHEMA.model_copy(
        update={"fields": {**SCHEMA.fields, "Land": Field(kind="category", values=("DE", "AT", "CH"))}}
    )
    found = difference(schema, delivery())
    assert [(one.field, one.effect, one.words) for one in found.changes] == [("Land", "compatible", "no row has 'CH'")]
    assert found.compatible
