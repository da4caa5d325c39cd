"""Damaged lines of a file of text and files that cannot be read: set aside alone, beside what can be read."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import pytest

from tests.unit.sources.planted.reading import COUNT, PLACE, read
from tests.unit.sources.planted.tables import TABLE, TABLES, csv_text, row, zst

LINES: dict[str, tuple[Callable[[bytes], bytes], str]] = {  # of a file of text: what happens to a line -> rule
    "a cell too many": (lambda line: line + b",more", "ragged_row"),
    "a cell too few": (lambda line: line.rsplit(b",", 1)[0], "ragged_row"),
    "a byte that is no text": (lambda line: line.replace(b"red", b"r\xff\xfe"), "bad_encoding"),
    "a NUL": (lambda line: line.replace(b"red", b"r\0d"), "nul_byte"),
    "a quote inside": (lambda line: line.replace(b"red", b'"re"d"'), "bad_quote"),
}


@pytest.mark.parametrize("fault", LINES)
@pytest.mark.parametrize("pack", ["t.csv", "t.csv.gz", "t.csv.zst"])
def test_a_damaged_line_is_set_aside_alone(pack: str, fault: str) -> None:
    spoil, rule = LINES[fault]
    rows = [row(number) | {"note": "plain"} for number in range(COUNT)]
    lines = csv_text(rows).encode().split(b"\n")
    lines[PLACE + 1] = spoil(lines[PLACE + 1])
    data = b"\n".join(lines)
    records, (one,) = read({pack: {"gz": gzip.compress, "zst": zst}.get(pack[6:], bytes)(data)}, TABLE, "format: csv")
    assert (len(records), one.code, one.where) == (COUNT - 1, rule, f"{pack}:{PLACE + 2}")


FILES: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {  # dress -> what happens to a whole file -> rule
    "gzip cut": ("csv.gz", lambda data: data[:-9], "bad_compression"),
    "zst cut": ("csv.zst", lambda data: data[:-9], "bad_compression"),
    "no gzip": ("csv.gz", lambda _: b"not packed", "bad_compression"),
    "parquet cut": ("parquet", lambda data: data[:-20], "not_a_parquet"),
    "no parquet": ("parquet", lambda _: b"PAR1 nothing PAR1", "not_a_parquet"),
    "parquet empty": ("parquet", lambda _: b"", "not_a_parquet"),
    "a name twice in the header": ("csv", lambda data: data.replace(b"k,g,a", b"k,g,k", 1), "bad_header"),
}


@pytest.mark.parametrize("fault", FILES)
def test_a_file_that_cannot_be_read_is_set_aside_beside_one_that_can(fault: str) -> None:
    dress, spoil, rule = FILES[fault]
    file, source, write = TABLES[dress]
    good, bad = ([row(number) for number in range(at, at + COUNT)] for at in (0, 7))
    for number, one in enumerate(bad):
        one["k"] = f"other{number}"
    records, rejects = read({f"a{file}": write(good), f"b{file}": spoil(write(bad))}, TABLE, source)
    assert {one.code for one in rejects} == {rule}
    assert all(one.where.startswith(f"b{file}") for one in rejects)
    assert len([one for one in records if one.id.startswith("k")]) == COUNT
