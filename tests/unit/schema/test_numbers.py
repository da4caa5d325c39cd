"""How numbers are written: decided per column, never per cell, and never guessed."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlratchet.models.errors import ConfigurationError, DataError
from mlratchet.models.pipeline.checking import check_source
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.schema.numbers import CellError, Mark, Seen, decide, read_number, shape_of
from mlratchet.models.sources.base import SourceOptions
from mlratchet.models.sources.csv import CsvOptions
from mlratchet.models.sources.record import RawObject, Record, Reject
from mlratchet.models.workloads.loading import load_workload
from mlratchet.models.workloads.tabular import TableClassifier, TableRegressor, TableWorkload

from tests.conftest import REPOSITORY

PRICES = TableClassifier(columns=["price", "rooms"], classes=["0", "1"])


def read(
    *files: str, workload: TableWorkload = PRICES, marks: dict[str, Mark] | None = None, **source: Any
) -> tuple[list[Record], list[Reject]]:
    tables = {f"{n}.csv": text.encode() for n, text in enumerate(files)}
    objects = [RawObject(key=key, size_bytes=1, sha256="") for key in tables]
    options: SourceOptions = CsvOptions(prefix="p/", **source)
    settings = options.model_dump(mode="json") | ({"number_marks": marks} if marks is not None else {})
    found = list(workload.records(objects, lambda item: tables[item.key], settings))
    return [one for one in found if isinstance(one, Record)], [one for one in found if isinstance(one, Reject)]


def prices(*cells: str, delimiter: str = "\t") -> str:
    rows = [f"{cell}{delimiter}{n}{delimiter}{n % 2}" for n, cell in enumerate(cells)]
    return "\n".join([f"price{delimiter}rooms{delimiter}label", *rows, ""])


def values(*cells: str, **settings: Any) -> list[float]:
    records, rejects = read(prices(*cells), **settings)
    assert rejects == []
    return [float(one.x[0]) for one in records]


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("12", "whole"), ("-3e5", "whole"), ("1.5", "point"), (".5", "point"), ("0.123", "point"),
        ("1234.567", "point"),
        ("1,234.5", "point"), ("1,234,567", "point"), ("1,5", "comma"), ("16,26", "comma"), ("0,123", "comma"),
        ("1234,567", "comma"), ("1.234,5", "comma"), ("1.234.567", "comma"), ("1,234", "comma_or_thousands"),
        ("-12,500", "comma_or_thousands"), ("1.234", "point_or_thousands"), ("1,23,456", "other"),
        ("1.2.2020", "other"),
        ("x", "other"), ("", "other"), (",", "other"), ("1_000", "other"), ("nan", "other"), ("1.2,3.4", "other"),
    ],
)  # fmt: skip
def test_what_the_marks_of_a_cell_say(text: str, shape: str) -> None:
    assert shape_of(text) == shape


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (("999", "1,234", "12,500", "1,234,567"), [999, 1234, 12_500, 1_234_567]),  # the last one tells
        (("999", "1,234", "1,5"), [999, 1.234, 1.5]),
        (("1.234", "2.5"), [1.234, 2.5]),
        (("1.234", "2,5"), [1234, 2.5]),
        (("1.234", "5.678"), [1.234, 5.678]),  # a point is the decimal mark where no column has the comma
        (("1,234.50", "7"), [1234.5, 7]),
        (("1.234,50", "7"), [1234.5, 7]),
        (("-1,5", "+2,25e2"), [-1.5, 225]),
    ],
)
def test_the_column_tells_how_its_cells_are_read(cells: tuple[str, ...], expected: list[float]) -> None:
    assert values(*cells) == pytest.approx(expected)


def test_a_quoted_decimal_comma_is_read_in_a_file_parted_by_commas() -> None:
    records, rejects = read('price,rooms,label\n"16,26",1,0\n"7,5",2,1\n')
    assert rejects == []
    assert [float(one.x[0]) for one in records] == pytest.approx([16.26, 7.5])


def test_an_ambiguous_column_is_an_error_with_both_readings_and_the_key() -> None:
    with pytest.raises(DataError) as caught:
        read(prices("999", "1,234", "12,500"))
    words = str(caught.value)
    assert words.startswith("0.csv:3: column 'price': '1,234' is 1.234 where ',' is the decimal mark and 1234 where")
    assert "declare source.decimal: {price: ','} for the first, {price: '.'} for the second" in words
    assert values("999", "1,234", "12,500", decimal={"price": ","}) == pytest.approx([999, 1.234, 12.5])
    assert values("999", "1,234", "12,500", decimal=".") == [999, 1234, 12_500]
    assert values("1.234", decimal=",") == [1234]


def test_points_are_ambiguous_beside_a_column_with_decimal_commas() -> None:
    text = "price;rooms;label\n1.234;1,5;0\n12.500;2,5;1\n"
    with pytest.raises(
        DataError, match=r"'1\.234' is 1\.234 where .* and 1234 .*\(column 'rooms' has decimal commas\)"
    ):
        read(text)
    assert [float(one.x[0]) for one in read(text, decimal=",")[0]] == [1234, 12_500]


def test_a_delivery_in_two_notations_is_an_error() -> None:
    for files in ((prices("1.5", "2,5"),), (prices("1.5", "3.25"), prices("2,5", "1,25"))):
        with pytest.raises(
            DataError, match=r"column 'price': numbers in two notations: got '1\.5' \(0\.csv:2\), '2,5'"
        ):
            read(*files)


@pytest.mark.parametrize("mark", [".", ","])
def test_a_later_file_in_another_notation_is_an_error(mark: Mark) -> None:
    ours, theirs = ("1.5", "1,5") if mark == "." else ("1,5", "1.5")
    marks: dict[str, Mark] = {"price": mark, "rooms": ""}
    assert values(ours, "2", marks=marks) == [1.5, 2]
    with pytest.raises(DataError, match=rf"^1\.csv:2: column 'price': numbers in two notations.*decimal mark '{mark}'"):
        read(prices(ours, ours), prices(theirs, "1,234", "1.234"), marks=marks)


def test_one_cell_in_another_notation_is_set_aside() -> None:
    records, rejects = read(prices(*["1.5"] * 40, "2,5", "1,234"))
    assert [(one.where, one.code) for one in rejects] == [("0.csv:42", "other_decimal_mark")]
    assert "got '2,5', expected a number with the decimal mark '.'" in rejects[0].reason
    assert float(records[-1].x[0]) == 1234


def test_whole_numbers_tell_nothing_of_a_later_file() -> None:
    marks: dict[str, Mark] = {"price": "", "rooms": ""}
    assert values("1", "2.5", marks=marks) == [1, 2.5]
    for cells, words in ((("1,234", "5"), "declare source.decimal"), (("1,5", "5"), "two notations")):
        with pytest.raises(DataError, match=words):
            read(prices(*cells), marks=marks)


def test_the_number_to_predict_is_read_alike() -> None:
    workload = TableRegressor(columns=["rooms"])
    text = "rooms;label\n1;1.234,5\n2;2.500\n"
    assert [one.y for one in read(text, workload=workload)[0]] == [1234.5, 2500]
    with pytest.raises(DataError, match=r"column 'label': '2,500' is 2\.500 where"):
        read("rooms;label\n1;7\n2;2,500\n", workload=workload)


@given(
    st.lists(st.decimals(-(10**7), 10**7, places=2, allow_nan=False, allow_infinity=False), min_size=1, max_size=20),
    st.sampled_from([(".", ","), (",", "."), (".", ""), (",", "")]),
)
def test_whatever_is_written_with_two_decimals_is_read_as_it_was_meant(
    numbers: list[Any], marks: tuple[str, str]
) -> None:
    decimal, thousands = marks
    cells = [f"{n:,.2f}".replace(",", "_").replace(".", decimal).replace("_", thousands) for n in numbers]
    seen = Seen()
    for cell in cells:
        seen.add("r.csv:2", cell)
    assert decide({"n": seen}) == {"n": decimal}
    for cell, number in zip(cells, numbers, strict=True):
        assert read_number(cell, decimal=decimal) == pytest.approx(float(number))  # type: ignore[arg-type]


@given(st.text("0123456789.,+-eE_ ", max_size=12), st.sampled_from(["", ".", ","]))
def test_a_cell_is_a_finite_number_or_says_why_not(text: str, decimal: Mark) -> None:
    number = 0.0
    try:
        number = read_number(text.strip(), decimal=decimal)
    except CellError as error:
        assert error.code  # noqa: PT017 - either is right
    assert abs(number) < 1e39


def test_a_declared_column_that_holds_no_numbers_is_refused() -> None:
    gates = (REPOSITORY / "docs" / "examples" / "two_layers" / "two-layers.yaml").read_text().partition("gates:")[2]
    head = (
        "name: p\nworkload: {use: 'mlratchet.models.workloads.tabular:TableClassifier', "
        "parameters: {columns: [price, rooms], classes: ['0', '1']}}\n"
        "source: {prefix: p/, decimal: {pricce: ','}}\n"
    )
    spec = parse_pipeline(f"{head}gates:{gates}", where="p.yaml")
    with pytest.raises(
        ConfigurationError, match=r"source\.decimal: 'pricce' is no column of numbers; did you mean 'price'"
    ):
        check_source(spec, load_workload(spec.workload.use, dict(spec.workload.parameters)))


def test_numbers_that_float32_makes_one_have_names_of_their_own_and_a_remark() -> None:
    workload = TableClassifier(columns=["at", "b"], classes=["0", "1"])
    records, rejects = read("at,b,label\n1700000001,1,0\n1700000063,1,1\n1700000120,1,0\n5,1,0\n", workload=workload)
    assert rejects == []
    assert len({one.id for one in records}) == len({one.content_sha256 for one in records}) == 4
    assert [[remark.code for remark in one.remarks] for one in records] == [
        ["float32_merges"],
        ["float32_merges"],
        [],
        [],
    ]
    assert "column 'at': 1700000001 and 1700000063 are one number as float32" in records[0].remarks[0].words


def test_whatever_a_subclass_raises_about_a_label_is_about_that_row() -> None:
    class Odd(TableClassifier):
        def target(self, text: str, *, decimal: Mark) -> int:
            return {"x": 0, "y": 1}[text]

    records, rejects = read("a,label\n1,x\n2,z\n", workload=Odd(columns=["a"], classes=["0", "1"]))
    assert len(records) == 1
    assert [(one.where, one.code) for one in rejects] == [("0.csv:3", "unknown_label")]
    assert "KeyError: 'z'" in rejects[0].reason


def test_a_cell_of_many_digits_takes_no_time() -> None:
    began = time.process_time()
    assert shape_of("1" * 16_000 + "x") == "other"
    assert time.process_time() - began < 1.0


def test_a_point_in_a_column_of_whole_numbers_is_ambiguous_beside_decimal_commas() -> None:
    marks: dict[str, Mark] = {"price": ",", "rooms": ""}
    assert [one.x.tolist() for one in read("price;rooms;label\n1,5;7;0\n", marks=marks)[0]] == [[1.5, 7]]
    with pytest.raises(DataError, match=r"'1\.234' is 1\.234 where .*\(column 'price' has decimal commas\)"):
        read("price;rooms;label\n1,5;1.234;0\n", marks=marks)


@pytest.mark.parametrize("cells", [("1.5", "2,5"), ("7", "2,5"), ("2,5",), ("1.5", "2.5", "3,5", "4,5")])
def test_a_mistyped_cell_of_a_small_file_is_set_aside(cells: tuple[str, ...]) -> None:
    records, rejects = read(prices("1.5", "2.5"), prices(*cells), marks={"price": ".", "rooms": ""})
    commas = sum("," in cell for cell in cells)
    assert [one.code for one in rejects] == ["other_decimal_mark"] * commas
    assert len(records) == 2 + len(cells) - commas


def test_a_file_that_says_the_other_mark_by_majority_is_an_error() -> None:
    with pytest.raises(DataError, match=r"numbers in two notations.*expected the decimal mark '\.'"):
        read(prices("1.5", "2.5"), prices("1.5", "2,5", "3,5"), marks={"price": ".", "rooms": ""})
