"""What is proposed of a table: kinds, roles and suspects, each with a reason; nobody is asked."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from mlratchet.models.errors import DataError
from mlratchet.models.schema.infer import Proposal, infer
from mlratchet.models.schema.typing import typed

ROWS = 60
RANDOM = np.random.default_rng(0)
X = [f"{value:.3f}" for value in RANDOM.normal(size=ROWS)]
Y = RANDOM.choice(["ja", "nein"], ROWS).tolist()


def table(**columns: Any) -> pa.Table:
    """With a number and, last, a label that are there beside them."""
    given = {name: values if isinstance(values, pa.Array) else pa.array(values) for name, values in columns.items()}
    return pa.table({"x": pa.array(X), **given, "wahl": pa.array(Y)})


def cycle(*values: str | None) -> list[str | None]:
    return [values[place % len(values)] for place in range(ROWS)]


def kind(values: Any, name: str = "a") -> Any:
    return infer(table(**{name: values})).schema.fields[name]


def proposed(**columns: Any) -> Proposal:
    return infer(table(**columns))


@pytest.mark.parametrize(
    ("values", "name", "expected"),
    [
        (X, "a", "number"),
        (cycle("1", "2", "3"), "a", "number"),
        (cycle("16,26", "3,5", "1.234,50"), "a", "number"),
        (cycle("01067", "80331"), "a", "category"),
        (cycle("1067", "80331"), "plz", "category"),
        (cycle("0", "1", "2"), "class_index", "category"),
        (cycle("03.04.2026 10:00", "1.2.2025 9:30"), "a", "time"),
        (cycle("2026-01-03", "2026-01-04"), "a", "time"),
        (cycle("1700000000", "1600000000"), "timestamp", "time"),
        (cycle("1700000000", "1600000000"), "price", "number"),
        (cycle("rot", "blau"), "a", "category"),
        ([f"ein Satz von {n} Worten, der etwas sagt" for n in range(ROWS)], "a", "text"),
        ([f"k{n * 7919 % 1000}x" for n in range(ROWS)], "a", "entity"),
        (cycle("1", "2", "3"), "item_id", "entity"),
        (["".join(RANDOM.choice(list("ACGT"), 12)) for _ in range(ROWS)], "a", "letters"),
        (["".join(RANDOM.choice(list("ACDEFGHIKLMNPQRSTVWY"), 20)) for _ in range(ROWS)], "a", "letters"),
        (pa.array(list(range(ROWS // 2)) * 2), "a", "number"),
        (pa.array([True, False] * (ROWS // 2)), "a", "category"),
        (pa.array([dt.date(2026, 1, 1 + n % 28) for n in range(ROWS)]), "a", "time"),
        (pa.array([b"\x89PNG..."] * ROWS), "a", "image"),
        (pa.array([b"RIFF...."] * ROWS), "a", "audio"),
        (pa.array([[1.0, 2.0]] * ROWS), "a", "tensor"),
    ],
)
def test_kinds_follow_from_cells_and_names(values: Any, name: str, expected: str) -> None:
    assert kind(values, name).kind == expected


@pytest.mark.parametrize(("words", "expected"), [("rief {} mal an", "text"), ("Bad Ort {}", "entity")])
def test_phrases_that_come_again_are_text_and_names_are_not(words: str, expected: str) -> None:
    cells = [words.format(n) for n in range(250) for _ in range(3)]
    rows = pa.table({"x": [*map(float, range(750))], "a": cells, "wahl": ["ja", "nein", "nein"] * 250})
    assert infer(rows).schema.fields["a"].kind == expected


def test_what_was_proposed_reads_the_table_it_was_proposed_from() -> None:
    raw = table(
        preis=cycle("16,26", "3,5", "1.234,50"),
        wann=cycle("03/04/2026", "13/04/2026"),
        gaps=cycle("1", "NA", "3", ""),
        land=cycle("DE", "AT", "?"),
    )
    proposal = infer(raw)
    fields = proposal.schema.fields
    assert (fields["preis"].decimal, fields["wann"].format) == (",", "%d/%m/%Y")
    assert (fields["gaps"].missing, fields["gaps"].nullable) == (("NA",), True)
    assert (fields["land"].missing, fields["land"].values) == (("?",), ("AT", "DE"))
    assert "'NA' means not given" in proposal.reasons["gaps"]
    read, rejects = typed(raw.append_column("@where", pa.array([f"r.csv:{n}" for n in range(ROWS)])), proposal.schema)
    assert (read.num_rows, rejects) == (ROWS, [])
    assert set(proposal.reasons) == set(fields)


def test_a_code_that_is_spelled_like_a_gap_stays_a_code() -> None:
    assert kind(cycle("NA", "DE", "FR")).missing is None
    assert kind(cycle("NA", "rot", "blau")).missing == ("NA",)


def test_what_can_be_read_in_two_ways_is_no_input_until_somebody_says() -> None:
    proposal = proposed(a=cycle("1,234", "2,345"), d=cycle("03/04/2026", "01/02/2026"))
    assert not proposal.schema.fields["a"].input
    assert not proposal.schema.fields["d"].input
    assert set(proposal.open) == {"a", "d"}
    assert "write decimal" in proposal.open["a"]
    assert "3 April 2026" in proposal.open["d"]
    assert "dayfirst" in proposal.open["d"]


def test_the_label_is_the_one_asked_for_or_named_or_the_last() -> None:
    assert infer(table()).schema.label == "wahl"
    assert infer(table(target=cycle("0", "1"))).schema.label == "target"
    assert infer(table(target=cycle("0", "1")), label="wahl").schema.label == "wahl"
    label = infer(table(), label="x").label
    assert label is not None
    assert (label.task, label.classes) == ("regression", ())
    named = infer(table(target=cycle("10", "2", "1"))).label
    assert named is not None
    assert (named.task, named.classes) == ("classification", ("1", "2", "10"))
    amount = infer(table(), label="x").label
    stars = infer(table(rating=cycle("1", "5", "3"))).label
    assert (amount and amount.task, stars and stars.name, stars and stars.task) == (
        "regression",
        "rating",
        "regression",
    )
    with pytest.raises(DataError, match=r"no column 'whal'; did you mean 'wahl'\?"):
        infer(table(), label="whal")
    with pytest.raises(DataError, match="column 'a' is no label: always"):
        infer(table(a=["1"] * ROWS), label="a")
    assert "the last column that can be one" in infer(table()).reasons["wahl"]


def test_a_column_that_is_named_as_an_id_is_no_label_while_another_can_be_one() -> None:
    ids = [str(n // 3) for n in range(ROWS)]
    assert infer(table(id=ids).select(["x", "id"])).schema.label == "x"
    assert infer(pa.table({"a": cycle("u", "v"), "id": ids})).schema.label == "a"
    assert (
        infer(pa.table({"a": [f"s{n}" for n in range(ROWS)], "z": X, "id": ids}).select(["z", "id"])).schema.label
        == "z"
    )


def test_ids_groups_and_times_are_found() -> None:
    proposal = infer(
        pa.table(
            {
                "Bestellnr": [f"B-{n}" for n in range(ROWS)],
                "patient": cycle(*(f"p{n}" for n in range(12))),
                "row": [str(n) for n in range(ROWS)],
                "wann": cycle("2026-01-01", "2026-01-02"),
                "x": X,
                "wahl": Y,
            }
        )
    )
    schema = proposal.schema
    assert (schema.id, schema.group, schema.time, schema.label) == ("Bestellnr", "patient", "wann", "wahl")
    assert set(schema.inputs) == {"wann", "x"}
    assert "tells rows apart" in proposal.reasons["row"]


@pytest.mark.parametrize(("groups", "role"), [(2, None), (9, None), (10, "group"), (30, "group")])
def test_rows_are_not_divided_by_so_few_groups_that_a_side_has_none(groups: int, role: str | None) -> None:
    found = proposed(group=[f"g{n % groups}" for n in range(ROWS)])
    assert (found.schema.group, found.schema.fields["group"].input) == (role, role is None)
    assert [one.partition(",")[0] for one in found.remarks.values()] == [f"names {groups} groups"] * (role is None)


def test_a_group_of_many_is_taken_where_one_of_few_stands_before_it() -> None:
    found = proposed(group=[f"g{n % 3}" for n in range(ROWS)], patient=[f"p{n % 15}" for n in range(ROWS)])
    assert (found.schema.group, found.schema.fields["group"].input) == ("patient", True)


def test_ratings_keep_who_and_what_as_inputs() -> None:
    raw = pa.table({"user_id": cycle("1", "2", "3"), "item_id": cycle("7", "8"), "rating": cycle("1", "5", "3", "4"),
                    "timestamp": cycle("880000000", "880000100")})  # fmt: skip
    proposal = infer(raw, label="rating")
    assert {name: one.kind for name, one in proposal.schema.inputs.items()} == {
        "user_id": "entity", "item_id": "entity", "timestamp": "time"
    }  # fmt: skip
    assert proposal.schema.group is None


def test_columns_that_tell_the_label_are_suspects() -> None:
    code = [{"ja": "a", "nein": "b"}[one] for one in Y]
    colour = [f"{one}{place % 2}" for place, one in enumerate(Y)]
    proposal = proposed(code=code, copy=Y, colour=colour, other=cycle("rot", "blau"))
    assert proposal.suspects == {
        "code": "determines the label 'wahl'",
        "copy": "is the label 'wahl'",
        "colour": "determines the label 'wahl'",
    }
    assert list(proposal.schema.inputs) == ["x", "other"]
    cents = infer(
        pa.table({"euro": X, "cent": [str(100 * float(one)) for one in X], "z": cycle("1", "2", "3.5")}), label="euro"
    )
    assert cents.suspects == {"cent": "is the label 'euro' in another unit"}


def test_empty_and_constant_columns_are_no_inputs() -> None:
    proposal = proposed(leer=[""] * ROWS, gleich=["1"] * ROWS, strich=["-"] * ROWS)
    assert list(proposal.schema.inputs) == ["x"]
    assert "never given" in proposal.reasons["leer"]
    assert "always 1" in proposal.reasons["gleich"]


def test_a_table_that_nothing_can_be_learnt_from_says_why() -> None:
    with pytest.raises(DataError, match="no column to learn from: 'a' no input: always"):
        infer(pa.table({"a": ["1"] * ROWS, "wahl": Y}))
    with pytest.raises(DataError, match="no rows"):
        infer(pa.table({"a": pa.array([], type=pa.string())}))
    assert infer(pa.table({"": X, "x": X, "y": Y})).left_out == {"": "has no name"}
