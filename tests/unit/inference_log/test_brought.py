"""Labels that are brought as objects: read in the declared format, and never the end of a look."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.inference_log.brought import brought_labels
from mlratchet.models.inference_log.columns import LABELS
from mlratchet.models.inference_log.config import LabelsConfig


def parquet(**columns: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def read(form: Any, *objects: bytes, **names: str) -> list[tuple[Any, ...]]:
    store = MemoryStore("raw")
    for number, data in enumerate(objects):
        store.put(f"l/{number}", data)
    store.put("other/x", b"request_id,row,label\nr9,0,no\n")
    table = brought_labels(store, LabelsConfig(prefix="l", format=form, **names))  # type: ignore[arg-type]
    assert table.schema == LABELS
    return [(one["request_id"], one["row"], one["label"]) for one in table.to_pylist()]


def test_each_format_gives_the_same_labels() -> None:
    wanted = [("r1", 0, "yes"), ("r2", 3, "007")]
    assert read("csv", b"request_id,row,label\nr1,0,yes\nr2,3,007\n") == wanted
    assert (
        read("jsonl", b'{"request_id":"r1","row":0,"label":"yes"}\n{"request_id":"r2","row":3,"label":"007"}\n')
        == wanted
    )
    assert read("parquet", parquet(request_id=["r1", "r2"], row=[0, 3], label=["yes", "007"])) == wanted


def test_a_row_that_is_not_named_is_the_first_and_other_names_are_declared() -> None:
    assert read("csv", b"id,truth\nr1,1.5\n", request="id", label="truth") == [("r1", 0, "1.5")]


def test_a_label_of_several_lines_is_read_wherever_a_block_of_the_file_ends() -> None:
    text = "\n".join("a line of it" for _ in range(4000))
    body = "request_id,row,label\n" + "".join(f'r{at},0,"{text}"\n' for at in range(60))  # 3 MB, three blocks
    assert read("csv", body.encode()) == [(f"r{at}", 0, text) for at in range(60)]


TABLE = "request_id;row;label\nr1;0;ja, sehr\nr2;3;für\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_sheet_is_read_as_a_spreadsheet_saves_it(encoding: str, delimiter: str) -> None:
    body = TABLE.replace(";", delimiter).encode(encoding)
    assert read("csv", body) == [("r1", 0, "ja, sehr"), ("r2", 3, "für")]


def test_a_bad_row_takes_no_other_with_it(caplog: pytest.LogCaptureFixture) -> None:
    """Seen: a whole day of labels, for one that had a comma too many."""
    assert read("csv", b"request_id,row,label\nr1,0,yes\nr2,0,yes,more\nr3,1,no\n") == [
        ("r1", 0, "yes"),
        ("r3", 1, "no"),
    ]
    assert "1 of its labels cannot be read and are left out; the first: line 3" in caplog.text
    lines = b'{"request_id":"r1","label":1}\n{"request_id":"r2","label":}\n[1]\n{"request_id":"r3","label":"two"}\n'
    lines += b'{"request_id":"r4","label":true}\n{"request_id":"r5","label":{"a":1}}\n'
    lines += b'{"request_id":"r6","row":2,"label":1.0}\n'
    assert read("jsonl", lines) == [("r1", 0, "1"), ("r3", 0, "two"), ("r4", 0, "true"), ("r6", 2, "1")]
    assert "2 of its labels cannot be read and are left out; the first: line 2" in caplog.text
    lines = '{"request_id":"r1","label":"a\u2028b\x85"}\r\n{]\r\n'.encode()  # two ends of a line that are none here
    assert read("jsonl", lines) == [("r1", 0, "a\u2028b\x85")]


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("request_id;row;label;Prüfer\nr1;0;yes;Jörg\n".encode("cp1252"), [("r1", 0, "yes")]),
        ("request_id\trow\tlabel\r\nr1\t0\tüber\r\n".encode("utf-16"), [("r1", 0, "über")]),
        (b"request_id,label, row\nr1,yes,3\n", [("r1", 3, "yes")]),  # a blank beside a name
        (
            b"request_id,row,label\nr1, 2, cat\nr2,0,NA\nr3,0,null\n",
            [("r1", 2, "cat"), ("r2", 0, "NA"), ("r3", 0, "null")],
        ),
        (b'request_id,row,label\nr1,0,"yes"\nr2,0,"no, never"\n', [("r1", 0, "yes"), ("r2", 0, "no, never")]),
    ],
)
def test_how_a_csv_is_written_changes_no_label(body: bytes, wanted: list[tuple[str, int, str]]) -> None:
    assert read("csv", body, b"request_id,row,label\nr9,0,yes\n") == [*wanted, ("r9", 0, "yes")]


def test_no_byte_and_no_name_that_comes_twice_is_the_end_of_the_others() -> None:
    odd = b'{"request_id":"r1","label":"a","label":"b"}\n{"request_id":"r2","label":"\xfc"}\n'
    odd += b'{"request_id":"r3","label":"\\ud800"}\n' + b'{"request_id":"r4","label":' + b"[" * 90_000 + b"\n"
    assert read("jsonl", odd + b'{"request_id":"r5","label":"yes"}\n') == [("r5", 0, "yes")]
    assert read("csv", b"request_id,row,label\nr1,0,f\xfcr\nr2,0,yes\n") == [("r1", 0, "für"), ("r2", 0, "yes")]


@pytest.mark.parametrize("bad", [b"", b"\xff\xfe", b"a,b\n1,2\n", b"request_id,row,label\nr1,0,yes,more\n"])
def test_an_object_that_cannot_be_read_takes_no_other_with_it(bad: bytes) -> None:
    assert read("csv", bad, b"request_id,row,label\nr1,0,yes\n") == [("r1", 0, "yes")]


def test_rows_that_say_nothing_are_left_out() -> None:
    assert read("csv", b"request_id,row,label\n,0,yes\nr1,-1,yes\nr2,x,yes\nr3,9999999999,yes\nr4,,no\n") == [
        ("r4", 0, "no")
    ]
