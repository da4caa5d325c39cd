"""Whatever a delivery holds: each record is used, or set aside once, with file, row, rule and reason."""

from __future__ import annotations

import io
import json
import random
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.data.config import DataConfig, SourceConfig, SplitConfig
from mlratchet.models.data.preprocess import EmptyDatasetError, read_dataset_records
from mlratchet.models.data.quality import inspect
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.data.split import side_of
from mlratchet.models.errors import DataError
from mlratchet.models.sources.base import SourceOptions
from mlratchet.models.sources.image_folder import ImageFolderOptions
from mlratchet.models.sources.record import RawObject, Record, Reject
from mlratchet.models.workloads.base import Workload
from mlratchet.models.workloads.tabular import TableClassifier, TableRanker
from mlratchet.models.workloads.vision import ImageClassifier
from PIL import Image

TABLE = TableClassifier(columns=["a", "b"], classes=["0", "1"])
PICTURES = ImageClassifier(classes=["0", "1"], height=8, width=8, channels=1)
COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "öl") for form in ("NFC", "NFD"))


def read(
    files: dict[str, bytes],
    workload: Workload = TABLE,
    *,
    prefix: str = "p/",
    options: SourceOptions | None = None,
    **source: Any,
) -> tuple[list[Record], list[Reject]]:
    raw, store = MemoryStore("raw"), MemoryStore("store")
    for key, data in files.items():
        raw.put(key, data)
    options = options or SourceConfig(prefix=prefix, **source)
    return read_dataset_records(store, take_snapshot(raw, store, prefix=prefix), workload, options)


def measured(records: list[Record], rejects: list[Reject]) -> dict[str, Any]:
    return dict(inspect(MemoryStore(), records, rejects, None, DataConfig(), ("0", "1")).measures)


def rows(count: int, flip: int = 0) -> bytes:
    return ("a,b,label\n" + "".join(f"{i},{3 * i},{(i + flip) % 2}\n" for i in range(count))).encode()


def png(value: int, size: tuple[int, int] = (8, 8)) -> bytes:
    sink = io.BytesIO()
    Image.new("L", size, value).save(sink, "PNG")
    return sink.getvalue()


@pytest.mark.parametrize("prefix", ["plant", "plant/"])
def test_a_prefix_is_a_folder(prefix: str) -> None:
    files = {"plant/d.csv": rows(100), "plant-old/d.csv": rows(300, 1), "plant.csv": rows(10)}
    records, rejects = read(files, prefix=prefix)
    assert (len(records), rejects) == (100, [])


def test_what_lies_beside_a_folder_is_named() -> None:
    with pytest.raises(DataError, match=r"s3://raw/plant/: no objects; a prefix is a folder, and plant-old/d\.csv"):
        read({"plant-old/d.csv": rows(3)}, prefix="plant")


def test_what_a_mac_lays_beside_its_files_is_nothing() -> None:
    beside = b"\0\5\x16\7\0\2\0\0Mac OS X"
    records, rejects = read({"p/__MACOSX/sub/._d.csv": beside, "p/._d.csv": beside, "p/d.csv": rows(100)})
    assert (len(records), rejects) == (100, [])


@pytest.mark.parametrize("header", [b"a,b,label,c,c", b"a,b,label,gr\xf6"])
def test_a_file_with_a_bad_header_is_set_aside_and_the_others_are_read(header: bytes) -> None:
    records, rejects = read({"p/bad.csv": header + b"\n1,2,0,3,4\n2,3,1,4,5\n", "p/d.csv": rows(100)})
    assert len(records) == 100
    assert [(one.where, one.code, one.records) for one in rejects] == [("bad.csv:1", "bad_header", 2)]


def test_the_marks_of_folders_are_nothing() -> None:
    records, rejects = read({"p/": b"", "p/sub/": b"", "p/d.csv": rows(100)})
    assert (len(records), rejects) == (100, [])
    with pytest.raises(DataError, match="no objects"):
        read({"p/": b""})


def test_two_keys_never_become_one_file() -> None:
    records, _ = read({"p/d.csv": rows(10), "p//d.csv": rows(10, 1)})
    assert len(records) == 20


@pytest.mark.parametrize("workload", [TABLE, TableRanker(columns=["a", "b"])])
def test_a_row_without_a_group_is_set_aside(workload: Workload) -> None:
    text = "query,a,b,label\n" + "".join(f"{'' if i % 3 == 0 else f'Q{i // 10}'},{i},1,{i % 2}\n" for i in range(60))
    records, rejects = read({"p/r.csv": text.encode()}, workload, group_column="query")
    assert (len(records), len(rejects)) == (40, 20)
    assert {one.code for one in rejects} == {"missing_group"}
    assert rejects[0].reason == "r.csv:2: column 'query': empty, expected the group of the row"
    sides = {one.columns["@group"]: side_of(one.group or one.id, SplitConfig()) for one in records}
    assert all(side_of(one.group or one.id, SplitConfig()) == sides[one.columns["@group"]] for one in records)


def test_a_row_without_an_id_is_set_aside_and_a_second_one_says_where_the_first_is() -> None:
    records, rejects = read({"p/r.csv": b"id,a,b,label\nx,1,2,0\n,3,4,1\nx,5,6,1\ny,7,8,0\n"}, id_column="id")
    assert [one.id for one in records] == ["x", "y"]
    assert [(one.where, one.code) for one in rejects] == [("r.csv:3", "missing_id"), ("r.csv:4", "duplicate_id")]
    assert rejects[1].reason == "r.csv:4: id 'x' is there twice; the first (r.csv:2) is kept"


def labels(lines: list[str]) -> bytes:
    return "\n".join(["file,label,who", *lines, ""]).encode()


def test_a_picture_is_counted_once_whatever_is_wrong_with_its_row() -> None:
    lines = ["0.png,0,x", "1.png,x,x", "2.png,,x", "3.png,1", "4.png,1,", "5.png,1,x", "6.png,0,x", '7.png,"1"1,x']
    files = {f"p/{n}.png": png(n) for n in range(7)} | {"p/7.png": b"rubbish", "p/labels.csv": labels(lines)}
    records, rejects = read(files, PICTURES, group_column="who")
    assert [one.id for one in records] == ["0.png", "5.png", "6.png"]
    assert Counter(one.code for one in rejects) == Counter(
        ["unknown_label", "missing_label", "ragged_row", "missing_group", "bad_quote"]
    )
    assert measured(records, rejects)["rejected_fraction"].value == pytest.approx(5 / 8)


def test_a_picture_that_was_named_by_a_bad_row_can_be_named_by_a_good_one() -> None:
    records, rejects = read({"p/0.png": png(1), "p/labels.csv": labels(["0.png,0", "0.png,1,x"])}, PICTURES)
    assert [(one.id, one.y) for one in records] == [("0.png", 1)]
    assert [one.code for one in rejects] == ["ragged_row"]


@pytest.mark.parametrize(
    ("key", "file", "label"), [(DECOMPOSED, COMPOSED, "x"), (COMPOSED, DECOMPOSED, "x"), ("a", "a", DECOMPOSED)]
)
def test_both_unicode_forms_are_one_name(key: str, file: str, label: str) -> None:
    workload = ImageClassifier(classes=[COMPOSED, "x"], height=8, width=8, channels=1)
    files = {f"p/{key}.png": png(9), "p/b.png": png(8), "p/labels.csv": labels([f"{file}.png,{label},w", "b.png,x,w"])}
    records, rejects = read(files, workload)
    assert (len(records), rejects) == (2, [])


def test_a_folder_in_the_other_unicode_form_is_the_class() -> None:
    workload = ImageClassifier(classes=[COMPOSED, "x"], height=8, width=8, channels=1)
    folders = {f"p/{DECOMPOSED}/1.png": png(1), "p/x/2.png": png(2)}
    records, rejects = read(folders, workload, options=ImageFolderOptions(prefix="p/"))
    assert ([one.y for one in records], rejects) == ([0, 1], [])


def test_one_large_picture_stops_no_delivery() -> None:
    workload = ImageClassifier(classes=["0", "1"], height=8, width=8, channels=1, max_pixels=5_000)
    files = {f"p/{n}.png": png(n, (90, 80) if n == 20 else (8, 8)) for n in range(21)}
    files["p/labels.csv"] = labels([f"{n}.png,{n % 2},x" for n in range(21)])
    records, rejects = read(files, workload)
    assert len(records) == 20
    assert [(one.where, one.code) for one in rejects] == [("labels.csv:22", "too_many_pixels")]
    assert rejects[0].reason.startswith("20.png: too many pixels: 90x80, expected at most 5,000")


BAD_FILES = {
    "open quote": rows(50).replace(b"\n25,75,", b'\n"25,75,'),
    "nothing": b"",
    "no text": b"\xff\xfea\x00,\x00b\x00\n\x00\x00\xd8",
    "no header": b",,\n",
}


@pytest.mark.parametrize("bad", BAD_FILES)
def test_a_file_that_cannot_be_read_is_set_aside_with_its_rows(bad: str) -> None:
    records, rejects = read({"p/a.csv": rows(50), "p/b.csv": BAD_FILES[bad], "p/c.txt": rows(50, 1)})
    assert len(records) == 100
    (reject,) = rejects
    assert reject.where.startswith("b.csv")
    assert reject.records == (50 if bad == "open quote" else 1)
    assert measured(records, rejects)["rejected_fraction"].value == pytest.approx(
        reject.records / (100 + reject.records)
    )


@pytest.mark.parametrize("bad", BAD_FILES)
def test_a_delivery_of_which_nothing_can_be_read_is_a_data_error_with_the_place(bad: str) -> None:
    with pytest.raises(EmptyDatasetError, match=r"p/: empty dataset: 0 records .* \d+ set aside; the first: b\.csv"):
        read({"p/b.csv": BAD_FILES[bad]})


class Own(TableClassifier):
    """A user's own reader, which raises on its third row."""

    error: Exception = KeyError("colour")

    def records(self, objects: list[RawObject], fetch: Callable[[RawObject], bytes], source: Any) -> Iterator[Any]:
        for number, one in enumerate(super().records(objects, fetch, source)):
            if number == 2 and isinstance(self.error, json.JSONDecodeError):
                json.loads("{")  # the error is raised by somebody else's code
            if number == 2:
                raise self.error
            yield one


RAISED = [KeyError("colour"), MemoryError(), RuntimeError("two\nlines"), json.JSONDecodeError("x", "{", 1)]


@pytest.mark.parametrize("error", RAISED)
def test_whatever_a_users_reader_raises_is_a_data_error_that_says_where(error: Exception) -> None:
    own = Own(columns=["a", "b"], classes=["0", "1"])
    own.error = error
    with pytest.raises(DataError) as caught:
        read({"p/d.csv": rows(10)}, own)
    words = str(caught.value)
    assert words.startswith(f"Own cannot read the delivery: {type(error).__name__}: ")
    assert "(test_nothing_vanishes.py:" in words
    assert "after d.csv:3; give what cannot be read: yield Reject(" in words
    assert "\n" not in words


class Careless(Own):
    """A user's own reader that gives what nobody can use."""

    def records(self, objects: list[RawObject], fetch: Callable[[RawObject], bytes], source: Any) -> Iterator[Any]:
        for number, one in enumerate(TableClassifier.records(self, objects, fetch, source)):
            assert isinstance(one, Record)
            changes: dict[int, dict[str, Any]] = {
                1: {"x": one.x[:1]},
                2: {"y": None},
                3: {"y": "red"},
                4: {"x": [1, 2]},
            }
            yield replace(one, **changes.get(number, {}))


def test_what_a_users_reader_gives_is_held_against_what_the_workload_says() -> None:
    records, rejects = read({"p/d.csv": rows(10)}, Careless(columns=["a", "b"], classes=["0", "1"]))
    assert len(records) == 6
    assert [(one.where, one.code) for one in rejects] == [
        ("d.csv:3", "bad_shape"), ("d.csv:4", "bad_target"), ("d.csv:5", "bad_target"), ("d.csv:6", "bad_shape"),
    ]  # fmt: skip
    assert rejects[0].reason == "d.csv:3: got an input of shape [1], expected [2]"


BAD_ROWS = ["1,2", "1,x,0", "1,,1", "1,2,3", "nan,1,0", '1,"2"x,0', "1,2,", ",,", "1,2,0,0", "1,\udcff,0", ""]
ROWS = st.lists(
    st.one_of(
        st.tuples(st.integers(-99, 99).map(str), st.integers(-9, 9).map(str), st.sampled_from("01")).map(",".join),
        st.sampled_from(
            ["1,2", "1,x,0", "1,,1", "1,2,3", "nan,1,0", '1,"2"x,0', "1,2,", ",,", "1,2,0,0", "1,\udcff,0", ""]
        ),
    ),
    min_size=1,
    max_size=30,
)


@given(st.lists(ROWS, min_size=1, max_size=3))
def test_read_and_set_aside_are_what_the_files_hold(files: list[list[str]]) -> None:
    """Over ragged, empty, misspelt and foreign rows in any mix, in several files."""
    delivery = {
        f"p/{n}.csv": "\n".join(["a,b,label", *lines, "5,5,1", ""]).encode(errors="surrogateescape")
        for n, lines in enumerate(files)
    }
    records, rejects = read(delivery)
    held = sum(1 for lines in files for line in lines if line) + len(files)
    assert len(records) + sum(one.records for one in rejects) == held
    assert len({one.where for one in rejects}) == len(rejects)
    assert all(one.where.partition(":")[0] + ":" in one.reason for one in rejects)


def test_the_order_of_rows_and_files_moves_nobody() -> None:
    lines = [f"{i},{3 * i},{i % 2}" for i in range(40)]
    shuffled = random.Random(0).sample(lines, len(lines))
    one, two = (read({"p/d.csv": "\n".join(["a,b,label", *some]).encode()})[0] for some in (lines, shuffled))
    assert [(r.id, r.y) for r in one] == [(r.id, r.y) for r in two]
