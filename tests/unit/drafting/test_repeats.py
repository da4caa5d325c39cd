"""`ratchet init` of tables without an id: rows that come twice, and groups that are few."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pytest
from mlratchet.models.data.split import side_of
from mlratchet.models.data.split_rules import SplitConfig
from mlratchet.models.drafting.draft import draft
from mlratchet.models.drafting.group_sides import salt_of
from mlratchet.models.drafting.repeats import repeated_rows
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.schema.fields import Field, Schema


def test_a_row_comes_twice_where_one_before_it_has_the_same_cells() -> None:
    columns = {
        "word": ["a", "b", "a", None, "a", "", "c"],
        "number": pa.array([1.0, 1.0, 1.0, 2.0, 1.0, 2.0, 2.0], pa.float16()),
        "list": [[1], [1], [1], [], [2], [], []],
        "coded": pa.array(["x", "x", "x", "y", "x", "y", "y"]).dictionary_encode(),
        "@where": [f"f:{n}" for n in range(7)],
    }
    table = pa.table({**columns, "group": ["g", "h", "i", "h", "g", "h", "g"], "y": range(7)})
    fields = {"word": Field(kind="text"), "y": Field(kind="number"), "group": Field(kind="entity", input=False)}
    schema = Schema(fields=fields, label="y", group="group")
    assert repeated_rows(table, schema) == 2
    assert repeated_rows(table.append_column("beside", pa.array(range(7))), schema) == 0
    assert repeated_rows(table, schema.model_copy(update={"id": "word"})) == 0  # which is judged by itself
    assert repeated_rows(table, schema, ranking=True) == 1
    assert repeated_rows(table.slice(0, 0), schema) == 0


def test_rows_that_come_twice_are_told_and_are_no_fault_of_the_first_delivery(tmp_path: Path) -> None:
    draw = random.Random(0)
    counts = [*(draw.randrange(9) for _ in range(60)), *range(100, 160)]
    cells = [f"{count},{draw.choice(['Bonn', 'Ulm'])}" for count in counts]
    kept = len({*cells})
    file = tmp_path / "sold.csv"
    file.write_text("count,place,y\n" + "".join(f"{one},{draw.choice(['yes', 'no'])}\n" for one in cells))
    told = draft([file])
    gates = {one.measure: one for one in parse_pipeline(told.text, where="test").gates.data}  # type: ignore[attr-defined]
    assert kept < 110
    assert gates["rows"].minimum == kept // 2
    assert gates["rejected_fraction"].maximum > (120 - kept) / 120
    words = f"{120 - kept} of 120 rows equal one before them but for the label, and are set aside (duplicate_id)"
    assert any(note.startswith(words) for note in told.notes)


def sides(groups: dict[str, int], salt: str) -> dict[str, int]:
    found = dict.fromkeys(("train", "validation", "test"), 0)
    for group, rows in groups.items():
        found[side_of(group, SplitConfig(validation=0.15, test=0.3, salt=salt))] += rows
    return found


@pytest.mark.parametrize("word", ["", "t"])
def test_few_groups_get_a_salt_that_leaves_no_side_empty(tmp_path: Path, word: str) -> None:
    names = ["3", "10", "15", "16", "19", "31", "51", "52", "63", "78", "79", "86"]
    groups = {f"{word}{name}": 58 for name in names}
    draw = random.Random(1)
    rows = [f"{group},{draw.random():.6f},{draw.random():.6f}" for group in groups for _ in range(58)]
    file = tmp_path / "tasted.csv"
    file.write_text("subject,salty,sweet\n" + "\n".join(rows) + "\n")
    spec = parse_pipeline(draft([file], labels=["sweet"]).text, where="test")
    assert isinstance(spec.data.split, SplitConfig)
    assert min(sides(groups, spec.data.split.salt).values()) >= 58


def test_the_usual_salt_stays_where_it_divides_well_and_where_nothing_could() -> None:
    assert min(sides({f"g{n}": 1 for n in range(100)}, "ratchet").values()) > 7
    assert salt_of({f"g{n}": 1 for n in range(100)}, validation=0.15, test=0.3) is None
    assert salt_of({"a": 50, "b": 50}, validation=0.15, test=0.3) is None
