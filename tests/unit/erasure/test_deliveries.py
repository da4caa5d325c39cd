"""A person's records are taken out of a file however it is written and packed; what cannot be looked into is said."""

from __future__ import annotations

import datetime as dt
import gzip
import io
import tarfile
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlratchet.models.erasure.deliveries import CannotPartError, TableReading, part
from mlratchet.models.erasure.whose import Wanted, word_of
from mlratchet.models.schema.numbers import Mark

WANTED = Wanted(fields=("customer",), keys=frozenset(["K-4711"]))
ROWS = ["customer,note", "K-1,first", "K-4711,Größe secret", "K-2,last"]
WITHOUT = [ROWS[0], ROWS[1], ROWS[3]]


def text(lines: list[str], encoding: str) -> bytes:
    return ("\r\n".join(lines) + "\r\n").encode(encoding)


@pytest.mark.parametrize(
    ("encoding", "declared"),
    [("utf-8", None), ("utf-8-sig", None), ("utf-16", None), ("latin-1", "latin-1"), ("utf-16-le", "utf-16-le")],
)
def test_in_every_encoding_what_stays_keeps_its_bytes(encoding: str, declared: str | None) -> None:
    found = part("p/t.csv", text(ROWS, encoding), WANTED, TableReading(encoding=declared))
    assert found is not None
    assert [row["note"] for row in found.theirs] == ["Größe secret"]
    assert found.rest == text(WITHOUT, encoding)


@pytest.mark.parametrize("declared", ["utf-16", "utf-16-le", "utf-16-be", "utf-8"])
@pytest.mark.parametrize("headless", [False, True])
def test_a_mark_before_a_declared_encoding_hides_nobody_and_stays(declared: str, headless: bool) -> None:
    mark, encoding = "\ufeff", "utf-16-be" if declared == "utf-16" else declared
    rows, without = (ROWS[2:], ROWS[3:]) if headless else (ROWS, WITHOUT)
    reading = TableReading(encoding=declared, header=("customer", "note") if headless else None)
    found = part("p/t.csv", mark.encode(encoding) + text(rows, encoding), WANTED, reading)
    assert found is not None
    assert found.rest == mark.encode(encoding) + text(without, encoding)


def test_a_table_without_a_line_of_names_is_read_as_the_file_says() -> None:
    found = part("p/t.data", text(ROWS[1:], "utf-8"), WANTED, TableReading(header=("customer", "note")))
    assert found is not None
    assert found.rest == text(WITHOUT[1:], "utf-8")


def test_blanks_around_a_cell_hide_nobody() -> None:
    found = part("p/t.csv", b"customer, note\n K-4711 , x\n", WANTED)
    assert found is not None
    assert found.rest == b"customer, note\n"


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_what_is_packed_is_unpacked_and_packed_again(suffix: str) -> None:
    plain = text(ROWS, "utf-8")
    packed = gzip.compress(plain) if suffix == ".gz" else bytes(pa.compress(plain, codec="zstd", asbytes=True))
    found = part(f"p/t.csv{suffix}", packed, WANTED)
    assert found is not None
    assert found.rest is not None
    if suffix == ".gz":
        again = gzip.decompress(found.rest)
    else:
        again = pa.CompressedInputStream(pa.BufferReader(found.rest), "zstd").read()
    assert again == text(WITHOUT, "utf-8")


def archive(mode: str) -> bytes:
    sink, content = io.BytesIO(), b'{"customer": "K-4711"}'
    with tarfile.open(fileobj=sink, mode=mode) as tar:  # type: ignore[call-overload]
        entry = tarfile.TarInfo("a.json")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return sink.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("p/t.tar", archive("w")),
        ("p/t.tar.gz", archive("w:gz")),
        ("p/t.tgz", archive("w:gz")),
        ("p/t.csv.gz", b"\x1f\x8bno gzip"),
        ("p/t.parquet", b"PAR1 no parquet"),
        ("p/t.csv", text(ROWS, "utf-16")[:-1]),
    ],
)
def test_what_cannot_be_taken_apart_is_said_and_not_passed_over(name: str, data: bytes) -> None:
    with pytest.raises(CannotPartError, match="do it by hand"):
        part(name, data, WANTED)


RATINGS = Wanted(fields=("user",), keys=frozenset(["186"]))
AS_RATINGS = TableReading(format="ratings")


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("u.data", ["186\t302\t3\t891717742", "22\t377\t1\t878887116", "186\t5\t3\t891717742"]),
        ("ratings.dat", ["186::302::3::891717742", "22::377::1::878887116"]),
        ("ratings.csv", ["userId,movieId,rating,timestamp", "186,302,3.0,891717742", "22,186,1.0,878887116"]),
    ],
)
def test_ratings_are_taken_apart_as_the_format_reads_them(name: str, lines: list[str]) -> None:
    found = part(f"p/{name}", "\n".join([*lines, ""]).encode(), RATINGS, AS_RATINGS)
    assert found is not None
    assert found.rest == "\n".join([one for one in lines if not one.startswith("186")] + [""]).encode()


def test_whole_numbers_of_a_short_name_for_parquet_are_found() -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"customer": [186, 22]}), sink)
    found = part("p/day.pq", sink.getvalue(), Wanted(fields=("customer",), keys=frozenset(["186"])))
    assert found is not None
    assert found.rest is not None
    assert pq.read_table(io.BytesIO(found.rest)).column("customer").to_pylist() == [22]


@pytest.mark.parametrize(
    ("lines", "key", "reading", "without"),
    [
        (["n,t,customer", '1, "a, b", K-4711', "2,c,K-1"], "K-4711", TableReading(), ["n,t,customer", "2,c,K-1"]),
        (["", "customer", "K-4711", "K-1"], "K-4711", TableReading(), ["", "customer", "K-1"]),
        (["customer,n", "Mu\u0308ller,1", "K-1,2"], "M\u00fcller", TableReading(), ["customer,n", "K-1,2"]),
        (
            ["t,customer", '"6 inch,K-1', '5" pipe,K-4711'],
            "K-4711",
            TableReading(quotes="none"),
            ["t,customer", '"6 inch,K-1'],
        ),
    ],
)
def test_a_row_is_theirs_where_a_run_reads_it_so(
    lines: list[str], key: str, reading: TableReading, without: list[str]
) -> None:
    found = part("p/t.csv", "\n".join(lines).encode(), Wanted(fields=("customer",), keys=frozenset([key])), reading)
    assert found is not None
    assert (found.rest or b"").decode().splitlines() == without


def test_a_file_that_a_run_sets_aside_with_the_key_in_it_is_said() -> None:
    with pytest.raises(CannotPartError, match="where a run reads no row"):
        part("p/t.csv", b'customer,t\nK-1,"open\nK-4711,x\nK-2,y\n', WANTED)


def test_a_short_key_in_a_format_that_is_not_taken_apart_is_said() -> None:
    with pytest.raises(CannotPartError, match="may hold the key"):
        part("p/t.docx", b"anything", RATINGS)
    assert part("p/186.png", b"anything", RATINGS) is not None
    assert part("p/22.png", b"anything", RATINGS) is None


def test_who_is_not_there_changes_nothing() -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"customer": ["K-1"]}), sink)
    for name, data in (("t.csv", text(WITHOUT, "utf-8")), ("t.parquet", sink.getvalue()), ("t.tar", b"\0" * 1024)):
        assert part(name, data, WANTED) is None


@pytest.mark.parametrize(
    ("key", "mark", "theirs"),
    [
        ("12", ",", ["12", "12,0", "012"]),
        ("1,2", ",", ["1,2", "1,20"]),
        ("1.2", ",", ["1,2", "1,20"]),
        ("1200", ",", ["1.200", "1200"]),
        ("12", ".", ["12", "012"]),
        ("12", None, ["12"]),
        ("9007199254740993", ",", ["9007199254740993"]),
    ],
)
def test_a_cell_is_a_key_as_the_schema_says_what_it_is(key: str, mark: Mark | None, theirs: list[str]) -> None:
    cells = ["12", "12,0", "012", "1,2", "1,20", "2", "1.200", "1200", "9007199254740993", "9007199254740992"]
    data = "\n".join(["n;customer", *(f"5;{cell}" for cell in cells), ""]).encode()
    wanted = Wanted(fields=("customer",), keys=frozenset([key]), numbers={} if mark is None else {"customer": mark})
    found = part("p/t.csv", data, wanted)
    assert found is not None
    assert [row["customer"] for row in found.theirs] == theirs


def test_a_number_of_parquet_or_json_is_the_same_in_any_type() -> None:
    wanted = Wanted(fields=("customer",), keys=frozenset(["12"]), numbers={"customer": ","})
    for kind in (pa.decimal128(22, 2), pa.float64(), pa.int32()):
        sink = io.BytesIO()
        pq.write_table(pa.table({"customer": pa.array([12, None, 1], pa.int64()).cast(kind)}), sink)
        found = part("t.parquet", sink.getvalue(), wanted)
        assert found is not None
        assert len(found.theirs) == 1
        assert found.rest is not None
        assert pq.read_table(io.BytesIO(found.rest)).num_rows == 2, "who has no number is nobody"
    lines = part("t.jsonl", b'{"customer": 12.0}\n{"customer": "1,2"}\n{"customer": "12,0"}\n', wanted)
    assert lines is not None
    assert lines.rest == b'{"customer": "1,2"}\n'


@pytest.mark.parametrize("other", ["9" * 5000, "-" + "9" * 5000, "1e999999", "Infinity", "NaN"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_a_number_of_any_length_is_somebody_else(other: str, quote: str) -> None:
    wanted = Wanted(fields=("customer",), keys=frozenset(["7"]), numbers={"customer": ""})
    table = part("t.csv", f"customer,v\n{other},1\n7,2\n".encode(), wanted)
    assert table is not None
    assert table.rest == f"customer,v\n{other},1\n".encode()
    told = f'{{"customer": {quote}{other}{quote}}}\n'.encode()
    lines = part("t.jsonl", told + b'{"customer": 7}\n', wanted)
    assert lines is not None
    assert lines.rest == told


@pytest.mark.parametrize("beside", [Decimal(10) ** 37, Decimal(-(10**30)), Decimal(5), None])
def test_a_decimal_of_any_size_is_a_cell_like_any_other(beside: Decimal | None) -> None:
    sink = io.BytesIO()
    amounts = pa.array([beside, Decimal(7)], pa.decimal128(38, 0))
    pq.write_table(pa.table({"customer": ["K-4711", "K-1"], "amount": amounts}), sink)
    found = part("t.parquet", sink.getvalue(), WANTED)
    assert found is not None
    assert [row["amount"] for row in found.theirs] == [f"{beside:f}" if beside is not None else "None"]
    by_number = Wanted(fields=("amount",), keys=frozenset(["7"]), numbers={"amount": "."})
    found = part("t.parquet", sink.getvalue(), by_number)
    assert found is not None
    assert [row["customer"] for row in found.theirs] == ["K-1"]
    assert word_of(Decimal("NaN")) == "NaN"
    assert word_of(Decimal("1e30")) == "1" + "0" * 30


def test_what_stays_of_parquet_keeps_the_years_that_spark_writes() -> None:
    sink, far = io.BytesIO(), [dt.datetime(9999, 12, 31), dt.datetime(2021, 6, 9)]
    table = pa.table({"customer": ["K-1", "K-4711"], "until": pa.array(far, pa.timestamp("us"))})
    pq.write_table(table, sink, use_deprecated_int96_timestamps=True)
    found = part("t.parquet", sink.getvalue(), WANTED)
    assert found is not None
    assert found.rest is not None
    assert pq.read_table(io.BytesIO(found.rest))["until"].to_pylist() == far[:1]


def test_a_column_of_parquet_is_the_same_packed_as_a_dictionary_or_in_half_floats() -> None:
    plain = pa.array(["7", "8", None])
    for cells in (plain.dictionary_encode(), pa.array(np.array([7, 8, np.nan], "float16")), pa.array([7, 8, None])):
        for numbers in ({}, {"customer": "."}):
            sink = io.BytesIO()
            pq.write_table(pa.table({"customer": cells, "v": [1, 2, 3]}), sink)
            wanted = Wanted(fields=("customer",), keys=frozenset(["7"]), numbers=numbers)
            found = part("t.parquet", sink.getvalue(), wanted)
            assert found is not None
            assert [row["v"] for row in found.theirs] == ["1"]


def test_a_word_in_a_packed_column_of_those_who_stay_is_not_theirs_alone() -> None:
    sink = io.BytesIO()
    notes = pa.array(["a common sentence", "a common sentence"]).dictionary_encode()
    pq.write_table(pa.table({"customer": ["K-4711", "K-1"], "note": notes}), sink)
    found = part("t.parquet", sink.getvalue(), WANTED)
    assert found is not None
    assert "a common sentence" in found.others


@pytest.mark.parametrize(
    "line",
    [
        '{"customer": "K-4711", "n": ' + "9" * 5000 + "}",
        '{"customer": "K-4711",',
        '[{"customer": "K-4711"}]',
        '{"customer": "K-4711", "customer": "K-9"}',
        "[" * 100_000 + '"K-4711"',
    ],
)
def test_a_line_of_json_that_is_no_record_and_holds_the_key_is_said(line: str) -> None:
    data = f'{{"customer": "K-1"}}\n{line}\n'.encode()
    with pytest.raises(CannotPartError, match="do it by hand"):
        part("t.jsonl", data, WANTED)
    assert part("t.jsonl", data.replace(b"K-4711", b"K-2"), WANTED) is None
