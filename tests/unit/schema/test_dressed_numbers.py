"""Numbers with a currency, a unit or parted thousands are told as what they are; codes and words are left alone."""

from __future__ import annotations

import pyarrow as pa
import pytest
from mlratchet.models.errors import DataError
from mlratchet.models.schema.dressed_numbers import dressed
from mlratchet.models.schema.infer import infer

ROWS = 60


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ([f"{n}.234,50 €" for n in range(1, ROWS)], "'€'"),
        ([f"${n},200" for n in range(1, ROWS)], "'$'"),
        ([f"(${n}.50)" if n % 3 else f"${n}.50" for n in range(ROWS)], "'$' and brackets"),
        ([f"CHF 1'{n + 100}.50" for n in range(ROWS)], "'CHF' and parted thousands"),
        ([f"{n:+d}.5%" for n in range(ROWS)], "'%'"),
        ([f"{n + 1}\u202f250,5" for n in range(ROWS)], "parted thousands"),
        ([f"{n} 000" if n else "12" for n in range(ROWS)], "parted thousands"),
        ([f"{n} kg" for n in range(ROWS)], "'kg'"),
        ([f"{n} Jahre" for n in range(ROWS)], "'Jahre'"),
        ([f"<{n}" if n < 9 else str(n) for n in range(ROWS)], "'<'"),
        ([f"{n}b" if n == 7 else str(n) for n in range(ROWS)], ""),  # of a few
        ([f"{n}{'abcdef'[n % 6]}" for n in range(ROWS)], ""),
        ([f"B{n}" for n in range(ROWS)], ""),
        ([f"#{n + 1000}" for n in range(ROWS)], ""),  # of an order
        ([f"@{n + 1000}" for n in range(ROWS)], ""),
        ([f"N{n}1" for n in range(ROWS)], ""),
        ([f"10.0.0.{n}" for n in range(ROWS)], ""),
        ([f"{n}:30" for n in range(ROWS)], ""),
        ([f"{n}-Jan-2024" for n in range(ROWS)], ""),
        ([f"{n}/86" for n in range(ROWS)], ""),
        ([f"+49 {n} 3012345" for n in range(ROWS)], ""),
        ([f"{n} {['Main', 'Oak'][n % 2]} St." for n in range(ROWS)], ""),
    ],
)
def test_what_stands_beside_numbers_is_told(cells: list[str], words: str) -> None:
    assert dressed(pa.array(cells)) == words


def test_such_a_column_is_no_input_and_no_label_until_somebody_says() -> None:
    prices = [f"{n}.234,50 €" for n in range(1, ROWS + 1)]
    sizes = [["10 cm", "20 cm"][n % 2] for n in range(ROWS)]
    codes = [f"{n} m" for n in range(ROWS)]
    table = pa.table({"price": prices, "size": sizes, "zone": codes, "y": [str(n % 3 % 2) for n in range(ROWS)]})
    found = infer(table)
    assert found.open == {
        "price": "numbers with '€', as '1.234,50 €': deliver the numbers alone, or write kind: category or text"
    }
    # a zone is a code by its name
    assert {name: (one.kind, one.input) for name, one in found.schema.fields.items()} == {
        "price": ("text", False), "size": ("category", True), "zone": ("text", True), "y": ("category", True),
    }  # fmt: skip
    with pytest.raises(DataError, match="column 'price' is no label yet: numbers with '€', as"):
        infer(table, label="price")


@pytest.mark.parametrize("spelled", ["\\N", "(null)", "[NULL]", "<NA>", "#DIV/0!", "NaT"])
def test_how_databases_and_sheets_spell_what_is_not_given(spelled: str) -> None:
    numbers = [spelled if n % 4 == 0 else f"{n}.5" for n in range(ROWS)]
    words = [spelled if n % 5 == 0 else ["a", "b"][n % 2] for n in range(ROWS)]
    fields = infer(pa.table({"x": numbers, "w": words, "y": [str(n % 3 % 2) for n in range(ROWS)]})).schema.fields
    assert {name: (one.kind, one.missing, one.nullable) for name, one in fields.items() if name != "y"} == {
        "x": ("number", (spelled,), True), "w": ("category", (spelled,), True),
    }  # fmt: skip


def test_nested_json_is_a_text_of_which_a_person_is_told_and_names_no_group() -> None:
    customers = [f'{{"age": {n % 7}, "tags": ["a"]}}' for n in range(ROWS)]
    brackets = ["[" + ["Refrain", "Strophe"][n % 2] + "]" for n in range(ROWS)]
    table = pa.table({"customer": customers, "part": brackets, "y": [str(n % 3 % 2) for n in range(ROWS)]})
    found = infer(table)
    assert found.schema.group is None
    assert {name: one.kind for name, one in found.schema.fields.items()} == {
        "customer": "text", "part": "category", "y": "category",
    }  # fmt: skip
    assert list(found.remarks) == ["customer"]
    assert found.remarks["customer"].startswith("holds nested JSON, which is read as a text: deliver what it holds as")
