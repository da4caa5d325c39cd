"""A person's records are taken out of a file however it is written and packed; what cannot be looked into is said."""

from __future__ import annotations

import gzip
import io
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlratchet.models.erasure.deliveries import CannotPartError, TableReading, Wanted, part

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


def test_who_is_not_there_changes_nothing() -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"customer": ["K-1"]}), sink)
    for name, data in (("t.csv", text(WITHOUT, "utf-8")), ("t.parquet", sink.getvalue()), ("t.tar", b"\0" * 1024)):
        assert part(name, data, WANTED) is None
