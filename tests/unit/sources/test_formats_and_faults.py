"""Every format under a schema, with one planted fault of every kind that it can have: caught wholly, and told wholly.

A fault of one record sets that record aside, with file, row, field, rule, value and reason, and no other; a fault of a
file or of the delivery is told with the file and what to do. Nothing is half read.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.data.preprocess import read_dataset_records
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.errors import DataError, RatchetError, SecurityError
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.sources.record import Record, Reject
from mlratchet.models.workloads.loading import load_workload
from PIL import Image

GATES = """
gates:
  data: [{kind: data, measure: rows, minimum: 1}]
  candidate: [{kind: absolute, metric: accuracy, minimum: 0.5}]
  staging: [{kind: parity, maximum_difference: 0.1}]
  champion: [{kind: absolute, metric: accuracy, minimum: 0.5}]
"""
COUNT, PLACE = 20, 6  # good examples of a delivery; the one that is spoilt
Files = dict[str, bytes]
Cells = dict[str, Any]


def read(files: Files, schema: str, source: str) -> tuple[list[Record], list[Reject]]:
    raw, store = MemoryStore("raw"), MemoryStore("store")
    for key, data in files.items():
        raw.put(f"d/{key}", data)
    spec = parse_pipeline(f"name: t\nschema: {schema}\nsource: {{prefix: d/, {source}}}\n{GATES}", where="test")
    workload = load_workload(spec.workload.use, dict(spec.workload.parameters))
    records, rejects = read_dataset_records(store, take_snapshot(raw, store, prefix="d/"), workload, spec.source)
    return list(records), rejects


# Tables: the same rows and the same faults in every dress of a table.

TABLE = (
    '{label: y, id: k, group: g, time: day, missing: ["NA"], fields: {a: {kind: number, minimum: 0, maximum: 100}, '
    "n: {kind: number, whole: true, nullable: true}, word: {kind: category, values: [red, blü]}, "
    "day: {kind: time, format: iso}, "
    'dna: {kind: letters, alphabet: dna}, note: {kind: text}, y: {kind: category, values: ["no", "yes"]}}}'
)


def row(number: int) -> Cells:
    return {
        "k": f"k{number}", "g": f"g{number // 2}", "a": number + 0.5, "n": number, "word": ("red", "blü")[number % 2],
        "day": f"2026-01-{number + 1:02d}", "dna": "ACGT"[number % 4] * 3, "note": f'a "{number}",\nb',
        "y": ("no", "yes")[number % 2],
    }  # fmt: skip


def csv_text(rows: list[Cells]) -> str:
    def cell(value: Any) -> str:
        text = "" if value is None else str(value)
        return '"' + text.replace('"', '""') + '"' if any(one in text for one in ',"\n') else text

    lines = [",".join(cell(name) for name in rows[0]), *(",".join(map(cell, one.values())) for one in rows)]
    return "\n".join(lines) + "\n"


def as_parquet(rows: list[Cells]) -> bytes:
    columns = {}
    for name in rows[0]:
        cells = [one[name] for one in rows]
        mixed = len({type(cell) for cell in cells if cell is not None} & {str}) and not all(
            isinstance(cell, str | None) for cell in cells
        )
        columns[name] = pa.array([None if c is None else str(c) for c in cells] if mixed else cells)
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def zst(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


TABLES: dict[str, tuple[str, str, Callable[[list[Cells]], bytes]]] = {  # name -> file, source, how it is written
    "csv": ("t.csv", "format: csv", lambda rows: csv_text(rows).encode()),
    "csv with a mark": ("t.csv", "format: csv", lambda rows: csv_text(rows).encode("utf-8-sig")),
    "csv utf-16": ("t.csv", "format: csv", lambda rows: csv_text(rows).encode("utf-16")),
    "csv latin-1": ("t.csv", "format: csv, encoding: latin-1", lambda rows: csv_text(rows).encode("latin-1")),
    "tsv": ("t.tsv", "format: csv", lambda rows: csv_text(rows).replace(",", "\t").encode()),
    "csv.gz": ("t.csv.gz", "format: csv", lambda rows: gzip.compress(csv_text(rows).encode())),
    "csv.zst": ("t.csv.zst", "format: csv", lambda rows: zst(csv_text(rows).encode())),
    "parquet": ("t.parquet", "format: parquet", as_parquet),
    "jsonl": ("t.jsonl", "format: jsonl", lambda rows: "".join(json.dumps(one) + "\n" for one in rows).encode()),
    "jsonl.gz": (
        "t.jsonl.gz", "format: jsonl",
        lambda rows: gzip.compress("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in rows).encode()),
    ),
}  # fmt: skip
CELLS: dict[str, tuple[str, Any, str, str | None]] = {  # fault -> column, cell, rule, value that is told
    "nothing given": ("a", None, "missing_value", ""),
    "declared as not given": ("word", "NA", "missing_value", "NA"),
    "no number": ("a", "abc", "not_a_number", "abc"),
    "overflow": ("a", 1e300, "overflow", "1e+300"),
    "too small": ("a", -3.0, "below_minimum", "-3.0"),
    "too large": ("a", 101.0, "above_maximum", "101.0"),
    "a fraction": ("n", 2.5, "not_whole", "2.5"),
    "a strange word": ("word", "green", "unknown_value", "green"),
    "no time": ("day", "31.31.2026", "not_a_time", "31.31.2026"),
    "a day that is not": ("day", "2026-02-30", "not_a_time", "2026-02-30"),
    "a strange letter": ("dna", "ACX", "strange_letter", "ACX"),
    "no label": ("y", None, "missing_label", ""),
    "a strange label": ("y", "maybe", "unknown_label", "maybe"),
    "no id": ("k", None, "missing_id", ""),
    "no group": ("g", None, "missing_group", ""),
    "an id twice": ("k", "k0", "duplicate_id", None),
}


@pytest.mark.parametrize("fault", CELLS)
@pytest.mark.parametrize("dress", TABLES)
def test_a_fault_in_a_cell_sets_its_row_aside_in_every_dress_of_a_table(dress: str, fault: str) -> None:
    file, source, write = TABLES[dress]
    name, cell, rule, value = CELLS[fault]
    rows = [row(number) for number in range(COUNT)]
    rows[PLACE][name] = cell
    records, rejects = read({file: write(rows)}, TABLE, source)
    (one,) = rejects
    assert len(records) == COUNT - 1
    assert one.code == rule
    assert one.where.startswith(f"{file}:")
    assert one.records == 1
    if value is not None:
        assert (one.field, one.value) == (name, value)
        assert name in one.reason
    line = 2 + PLACE * 2 if "csv" in dress or dress == "tsv" else PLACE + 1  # a note spans two lines
    assert one.where == f"{file}:{line}"


@pytest.mark.parametrize("dress", TABLES)
def test_numbers_that_are_none_are_set_aside_in_every_dress_of_a_table(dress: str) -> None:
    file, source, write = TABLES[dress]
    for cell in (float("nan"), float("inf")):
        rows = [row(number) for number in range(COUNT)]
        rows[PLACE]["a"] = cell
        records, (one,) = read({file: write(rows)}, TABLE, source)
        assert len(records) == COUNT - 1
        assert one.code == ("bad_json" if dress.startswith("jsonl") else "non_finite")


@pytest.mark.parametrize("dress", TABLES)
def test_a_column_that_is_gone_or_renamed_is_told_with_its_file(dress: str) -> None:
    file, source, write = TABLES[dress]
    rows = [{("wrod" if name == "word" else name): cell for name, cell in row(n).items()} for n in range(COUNT)]
    with pytest.raises(DataError, match=r"^t\.\S+: column 'word' is missing; got .*'wrod'"):
        read({file: write(rows)}, TABLE, source)


@pytest.mark.parametrize("dress", TABLES)
def test_a_table_without_a_row_is_an_empty_dataset(dress: str) -> None:
    file, source, write = TABLES[dress]
    head = gzip.compress(b"") if dress == "jsonl.gz" else b""
    if dress == "parquet":
        sink = io.BytesIO()
        pq.write_table(pq.read_table(io.BytesIO(write([row(0)]))).slice(0, 0), sink)
        head = sink.getvalue()
    elif not dress.startswith("jsonl"):
        head = _only_head(dress)
    with pytest.raises(DataError, match="empty dataset: 0 records can be used"):
        read({file: head}, TABLE, source)


def _only_head(dress: str) -> bytes:
    text = csv_text([row(0)]).split("\n", 1)[0] + "\n"
    if dress == "tsv":
        return text.replace(",", "\t").encode()
    encoded = text.encode(
        {"csv utf-16": "utf-16", "csv latin-1": "latin-1", "csv with a mark": "utf-8-sig"}.get(dress, "utf-8")
    )
    return {"csv.gz": gzip.compress, "csv.zst": zst}.get(dress, bytes)(encoded)


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


# Pictures, sounds, sequences, ratings, shards and what is joined.


def png(number: int) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(sink, "PNG")
    return sink.getvalue()


def wav(number: int) -> bytes:
    sink = io.BytesIO()
    soundfile.write(sink, np.sin(np.arange(800) * (0.1 + number / 50)) * 0.5, 8000, format="WAV")
    return sink.getvalue()


def tar(members: Files) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name, data in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
    return sink.getvalue()


def listed(suffix: str, *, without: int | None = None) -> bytes:
    lines = [f"a/{n}.{suffix},{'xy'[n % 2]},{20 + n},g{n // 2}" for n in range(COUNT) if n != without]
    return ("file,who,age,g\n" + "\n".join(lines) + "\n").encode()


def sample(number: int) -> Files:
    about = {"age": 20 + number, "note": f"n{number}"}
    return {
        f"s{number:02d}.png": png(number), f"s{number:02d}.cls": b"xy"[number % 2 : number % 2 + 1],
        f"s{number:02d}.json": json.dumps(about).encode(),
    }  # fmt: skip


WHO = "who: {kind: category, values: [x, y]}"
PICTURE, SOUND = "picture: {kind: image}", "sound: {kind: audio}"
AGE = "age: {kind: number, minimum: 18}"
SAMPLES: Files = {name: data for number in range(COUNT) for name, data in sample(number).items()}
FASTA = "".join(f">p{n} label={'xy'[n % 2]} ph={n}.5\nACGT{'ACGT'[n % 4] * 3}\nGG\n" for n in range(COUNT))
RATINGS = "".join(f"{n % 4}\t{n}\t{n % 5 + 1}\t{881250949 + n}\n" for n in range(COUNT))


@dataclass(frozen=True)
class Whole:
    """A good delivery of a format."""

    files: Files
    schema: str
    source: str


WHOLE = {
    "image_folder": Whole(
        {f"{'xy'[n % 2]}/{n}.png": png(n) for n in range(COUNT)},
        f"{{label: who, fields: {{{PICTURE}, {WHO}}}}}", "format: image_folder",
    ),
    "images": Whole(
        {"t.csv": listed("png"), **{f"a/{n}.png": png(n) for n in range(COUNT)}},
        f"{{label: who, group: g, fields: {{{PICTURE}, {AGE}, {WHO}}}}}",
        "format: images, labels: t.csv, label_column: who, group_column: g",
    ),
    "audio_folder": Whole(
        {f"{'xy'[n % 2]}/{n}.wav": wav(n) for n in range(COUNT)},
        f"{{label: who, fields: {{{SOUND}, seconds: {{kind: number, maximum: 5}}, {WHO}}}}}", "format: audio_folder",
    ),
    "audio": Whole(
        {"t.csv": listed("wav"), **{f"a/{n}.wav": wav(n) for n in range(COUNT)}},
        f"{{label: who, group: g, fields: {{{SOUND}, {AGE}, {WHO}}}}}",
        "format: audio, labels: t.csv, label_column: who, group_column: g",
    ),
    "webdataset": Whole(
        {"s.tar": tar(SAMPLES)},
        f"{{label: who, fields: {{{PICTURE}, {AGE}, note: {{kind: text}}, {WHO}}}}}", "format: webdataset",
    ),
    "fasta": Whole(
        {"a.fa": FASTA.encode()},
        "{label: label, id: id, fields: {sequence: {kind: letters, alphabet: dna}, ph: {kind: number, maximum: 50}, "
        "label: {kind: category, values: [x, y]}}}",
        "format: fasta",
    ),
    "ratings": Whole(
        {"u.data": RATINGS.encode()},
        "{label: rating, time: time, fields: {user: {kind: entity}, item: {kind: entity}, time: {kind: time, format: "
        "unix, input: false}, rating: {kind: number, minimum: 1, maximum: 5}}}",
        "format: ratings",
    ),
    "joined": Whole(
        {**{f"photos/{'xy'[n % 2]}/{n}.png": png(n) for n in range(COUNT)},
         "tables/t.csv": ("stem;age\n" + "".join(f"{n};{20 + n}\n" for n in range(COUNT))).encode()},
        f"{{label: who, id: stem, fields: {{{PICTURE}, {AGE}, {WHO}}}}}",
        "format: joined, by: stem, parts: [{below: photos/, format: image_folder}, "
        '{below: tables/, format: csv, delimiter: ";"}]',
    ),
}  # fmt: skip


def put(key: str, data: bytes) -> Callable[[Files], Files]:
    return lambda files: files | {key: data}


def edit(key: str, before: str, after: str) -> Callable[[Files], Files]:
    def change(files: Files) -> Files:
        assert before.encode() in files[key]
        return files | {key: files[key].replace(before.encode(), after.encode(), 1)}

    return change


def cut(key: str, share: float = 0.5) -> Callable[[Files], Files]:
    return lambda files: files | {key: files[key][: int(len(files[key]) * share)]}


def gone(key: str) -> Callable[[Files], Files]:
    return lambda files: {name: data for name, data in files.items() if name != key}


def samples(**members: bytes | None) -> Callable[[Files], Files]:
    """A tar with other members: `s06_json` is `s06.json`; None: without."""
    changed = {name.replace("_", "."): data for name, data in members.items()}
    return lambda _: {"s.tar": tar({k: d for k, d in sorted((SAMPLES | changed).items()) if d is not None})}


Planted = tuple[Callable[[Files], Files], list[tuple[str, str, str, str]], int]
FAULTS: dict[str, dict[str, Planted]] = {  # by format: how, then where, rule, field and value of each reject
    "image_folder": {
        "truncated": (cut("x/6.png"), [("x/6.png", "truncated_image", "", "")], COUNT - 1),
        "another content": (put("x/6.png", wav(1)), [("x/6.png", "not_an_image", "", "")], COUNT - 1),
        "empty": (put("x/6.png", b""), [("x/6.png", "not_an_image", "", "")], COUNT - 1),
        "another suffix": (put("x/6.jpg", png(6)), [("x/6.jpg", "content_unlike_extension", "", "")], COUNT),
        "no class": (put("6.png", png(60)), [("6.png", "no_class", "", "")], COUNT),
        "a strange class": (put("z/6.png", png(60)), [("z/6.png", "unknown_label", "who", "z")], COUNT),
        "no picture": (put("x/6.txt", b"x"), [("x/6.txt", "not_an_image", "", "")], COUNT),
    },
    "images": {
        "truncated": (cut("a/6.png"), [("t.csv:8", "truncated_image", "", "")], COUNT - 1),
        "no file": (gone("a/6.png"), [("t.csv:8", "no_file", "", "")], COUNT - 1),
        "no row": (put("a/99.png", png(9)), [("a/99.png", "no_label", "", "")], COUNT),
        "a bad cell": (edit("t.csv", ",26,", ",abc,"), [("t.csv:8", "not_a_number", "age", "abc")], COUNT - 1),
        "too small": (edit("t.csv", ",26,", ",6,"), [("t.csv:8", "below_minimum", "age", "6")], COUNT - 1),
        "a strange label": (edit("t.csv", "x,26", "z,26"), [("t.csv:8", "unknown_label", "who", "z")], COUNT - 1),
        "no group": (edit("t.csv", "x,26,g3", "x,26,"), [("t.csv:8", "missing_group", "g", "")], COUNT - 1),
        "a ragged row": (edit("t.csv", "x,26,g3", "x,26,g3,1"), [("t.csv:8", "ragged_row", "", "")], COUNT - 1),
    },
    "audio_folder": {
        "truncated": (cut("x/6.wav"), [("x/6.wav", "truncated_sound", "", "")], COUNT - 1),
        "another content": (put("x/6.wav", png(1)), [("x/6.wav", "not_a_sound", "", "")], COUNT - 1),
        "no class": (put("6.wav", wav(60)), [("6.wav", "no_class", "", "")], COUNT),
        "a strange class": (put("z/6.wav", wav(60)), [("z/6.wav", "unknown_label", "who", "z")], COUNT),
    },
    "audio": {
        "truncated": (cut("a/6.wav"), [("t.csv:8", "truncated_sound", "", "")], COUNT - 1),
        "no file": (gone("a/6.wav"), [("t.csv:8", "no_file", "", "")], COUNT - 1),
        "no row": (put("a/99.wav", wav(9)), [("a/99.wav", "no_label", "", "")], COUNT),
        "a bad cell": (edit("t.csv", ",26,", ",abc,"), [("t.csv:8", "not_a_number", "age", "abc")], COUNT - 1),
        "a strange label": (edit("t.csv", "x,26", "z,26"), [("t.csv:8", "unknown_label", "who", "z")], COUNT - 1),
        "no group": (edit("t.csv", "x,26,g3", "x,26,"), [("t.csv:8", "missing_group", "g", "")], COUNT - 1),
    },
    "webdataset": {
        "a bad picture": (samples(s06_png=png(6)[:200]), [("s.tar/s06", "truncated_image", "", "")], COUNT - 1),
        "bad JSON": (samples(s06_json=b"{bad"), [("s.tar/s06", "bad_json", "", "")], COUNT - 1),
        "too small": (
            samples(s06_json=b'{"age": 6, "note": "x"}'), [("s.tar/s06", "below_minimum", "age", "6")], COUNT - 1,
        ),
        "a field is missing": (
            samples(s06_json=b'{"note": "x"}'), [("s.tar/s06", "missing_value", "age", "")], COUNT - 1,
        ),
        "a strange class": (samples(s06_cls=b"z"), [("s.tar/s06", "unknown_label", "who", "z")], COUNT - 1),
        "no class": (samples(s06_cls=None), [("s.tar/s06", "missing_label", "who", "")], COUNT - 1),
        "a pickle": (samples(s06_pkl=b"x"), [("s.tar/s06", "pickled_member", "", "")], COUNT - 1),
    },
    "fasta": {
        "a bad letter": (edit("a.fa", "ACGTGGG", "ACG!GGG"), [("a.fa:7", "bad_letter", "", "")], COUNT - 1),
        "a strange letter": (
            edit("a.fa", "ACGTGGG", "ACGEGGG"), [("a.fa:7", "strange_letter", "sequence", "ACGEGGGGG")], COUNT - 1,
        ),
        "a strange label": (
            edit("a.fa", "p6 label=x", "p6 label=z"), [("a.fa:19", "unknown_label", "label", "z")], COUNT - 1,
        ),
        "no label": (edit("a.fa", "p6 label=x", "p6"), [("a.fa:19", "missing_label", "label", "")], COUNT - 1),
        "an id twice": (edit("a.fa", ">p6 ", ">p0 "), [("a.fa:19", "duplicate_id", "", "")], COUNT - 1),
        "no number": (edit("a.fa", "ph=6.5", "ph=zz"), [("a.fa:19", "not_a_number", "ph", "zz")], COUNT - 1),
        "no sequence": (put("b.fa", b">q label=x ph=1.5\n"), [("b.fa:1", "empty_sequence", "", "")], COUNT),
    },
    "ratings": {
        "no user": (edit("u.data", "2\t6\t", "\t6\t"), [("u.data:7", "missing_user", "", "")], COUNT - 1),
        "no item": (edit("u.data", "2\t6\t", "2\t\t"), [("u.data:7", "missing_item", "", "")], COUNT - 1),
        "no rating": (edit("u.data", "2\t6\t2", "2\t6\tzz"), [("u.data:7", "bad_rating", "", "")], COUNT - 1),
        "too large": (edit("u.data", "2\t6\t2", "2\t6\t9"), [("u.data:7", "above_maximum", "rating", "9")], COUNT - 1),
        "no time": (edit("u.data", "881250955", "soon"), [("u.data:7", "not_a_time", "time", "soon")], COUNT - 1),
        "ragged": (edit("u.data", "\t881250955", ""), [("u.data:7", "ragged_row", "", "")], COUNT - 1),
    },
    "joined": {
        "truncated": (
            cut("photos/x/6.png"),
            [("photos/x/6.png", "truncated_image", "", ""), ("tables/t.csv:8", "no_partner", "", "")], COUNT - 1,
        ),
        "too small": (
            edit("tables/t.csv", "6;26", "6;6"), [("photos/x/6.png", "below_minimum", "age", "6")], COUNT - 1,
        ),
        "no partner": (edit("tables/t.csv", "6;26\n", ""), [("photos/x/6.png", "no_partner", "", "")], COUNT - 1),
        "no picture": (
            edit("tables/t.csv", "6;26\n", "6;26\n66;30\n"), [("tables/t.csv:9", "no_partner", "", "")], COUNT,
        ),
        "a partner twice": (
            edit("tables/t.csv", "6;26\n", "6;26\n6;27\n"), [("tables/t.csv:9", "duplicate_id", "", "")], COUNT,
        ),
    },
}  # fmt: skip
PLANTED = [(name, fault) for name, faults in FAULTS.items() for fault in faults]


@pytest.mark.parametrize("name", WHOLE)
def test_a_good_delivery_of_a_format_is_used_whole(name: str) -> None:
    one = WHOLE[name]
    records, rejects = read(one.files, one.schema, one.source)
    assert (len(records), rejects) == (COUNT, [])


@pytest.mark.parametrize(("name", "fault"), PLANTED)
def test_a_planted_fault_is_caught_wholly(name: str, fault: str) -> None:
    one = WHOLE[name]
    plant, expected, good = FAULTS[name][fault]
    records, rejects = read(plant(one.files), one.schema, one.source)
    told = [(r.where, r.code, r.field, r.value) for r in rejects]
    assert [(where, rule) for where, rule, *_ in told] == [(where, rule) for where, rule, *_ in expected]
    assert len(records) == good
    for found, (_, _, field, value) in zip(told, expected, strict=True):
        assert not field or found[2:] == (field, value)
    for reject in rejects:
        assert reject.reason.partition(":")[0].split("/")[0] in {key.split("/")[0] for key in plant(one.files)}


ENDS: dict[str, tuple[str, Callable[[Files], Files], type[RatchetError], str]] = {
    "a tar with a way out": (
        "webdataset", lambda _: {"s.tar": tar({"../a.png": png(1), "a.cls": b"x"})}, SecurityError, r"s\.tar: ",
    ),
    "a key with a way out": ("image_folder", put("x/../6.png", png(1)), SecurityError, r"'\.\.'"),
    "keys of one name": ("image_folder", put("X/6.png", png(1)), DataError, "differ only in case or Unicode form"),
    "a table that is gone": ("images", gone("t.csv"), DataError, r"t\.csv"),
    "a column that is gone": ("images", edit("t.csv", "age", "ages"), DataError, "column 'age' is missing.*'ages'"),
    "a part that is gone": ("joined", gone("tables/t.csv"), DataError, "tables/: no object begins so; correct"),
}  # fmt: skip


@pytest.mark.parametrize("fault", ENDS)
def test_what_is_wrong_with_a_delivery_as_a_whole_ends_it(fault: str) -> None:
    name, plant, error, words = ENDS[fault]
    one = WHOLE[name]
    with pytest.raises(error, match=words):
        read(plant(one.files), one.schema, one.source)


def test_a_shard_that_was_cut_is_read_up_to_there_and_told() -> None:
    one = WHOLE["webdataset"]
    records, rejects = read(cut("s.tar", 0.5)(one.files), one.schema, one.source)
    assert 0 < len(records) < COUNT
    assert {r.code for r in rejects} & {"truncated_archive", "bad_archive"}


def test_a_column_of_another_type_is_told_with_its_file() -> None:
    rows = [row(number) | {"a": [number]} for number in range(COUNT)]
    with pytest.raises(
        DataError, match=r"^t\.parquet: column 'a': its type is list<.*expected a number; `ratchet schema"
    ):
        read({"t.parquet": as_parquet(rows)}, TABLE, "format: parquet")
    rows = [row(number) | {"day": 1767225600 + number} for number in range(COUNT)]
    with pytest.raises(DataError, match="column 'day': its type is int64, expected a time; declare its format as unix"):
        read({"t.jsonl": TABLES["jsonl"][2](rows)}, TABLE, "format: jsonl")


ODD: dict[str, tuple[pa.Array, str, Any]] = {  # type -> column, kind, the first value as a client sends it
    "decimal128": (pa.array(["0.25", "7.5"]).cast(pa.decimal128(10, 2)), "{kind: number}", 0.25),
    "decimal256": (pa.array(["0.25", "7.5"]).cast(pa.decimal256(40, 2)), "{kind: number}", 0.25),
    "half float": (pa.array([0.5, 1.5], pa.float16()), "{kind: number}", 0.5),
    "nullable int": (pa.array([7, None], pa.int32()), "{kind: number, nullable: true}", 7.0),
    "bool": (pa.array([True, False]), "{kind: category}", "true"),
    "nulls": (pa.nulls(2), "{kind: number, nullable: true}", None),
    "date32": (pa.array([20454, 20455], pa.date32()), "{kind: time}", "2026-01-01T00:00:00Z"),
    "date64": (pa.array([20454, 20455], pa.date32()).cast(pa.date64()), "{kind: time}", "2026-01-01T00:00:00Z"),
    "zoned ns": (
        pa.array([1767225600 * 10**9, 1767225601 * 10**9], pa.timestamp("ns", "Europe/Berlin")), "{kind: time}",
        "2026-01-01T00:00:00Z",
    ),
    "naive s": (pa.array([1767225600, 1767225601], pa.timestamp("s")), "{kind: time}", "2026-01-01T00:00:00Z"),
    "dictionary": (pa.array(["x", "y"]).dictionary_encode(), "{kind: category}", "x"),
    "large string": (pa.array(["x", "y"], pa.large_string()), "{kind: text}", "x"),
    "string view": (pa.array(["x", "y"], pa.string_view()), "{kind: text}", "x"),
    "large ids": (pa.array([2**53 + 1, 2**53 + 2]), "{kind: entity}", "9007199254740993"),
    "list": (pa.array([[1.0, 2.0], [3.0, 4.0]]), "{kind: tensor, shape: [2]}", [1.0, 2.0]),
    "fixed list": (pa.array([[1, 2], [3, 4]], pa.list_(pa.int64(), 2)), "{kind: tensor, shape: [2]}", [1.0, 2.0]),
    "nested list": (pa.array([[[1, 2]], [[3, 4]]]), "{kind: tensor, shape: [1, 2]}", [[1.0, 2.0]]),
    "JSON of lists": (pa.array(["[[1, 2]]", "[[3, 4]]"]), "{kind: tensor, shape: [1, 2]}", [[1.0, 2.0]]),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_the_odd_types_of_parquet_are_read_as_what_they_are(name: str) -> None:
    column, kind, first = ODD[name]
    ids = pa.array([2**53 + 1, 2**53 + 2])
    sink = io.BytesIO()
    pq.write_table(pa.table({"k": ids, "a": column, "y": pa.array([0, 1])}), sink)
    schema = f'{{label: y, id: k, fields: {{a: {kind}, y: {{kind: category, values: ["0", "1"]}}}}}}'
    records, rejects = read({"t.parquet": sink.getvalue()}, schema, "format: parquet")
    assert rejects == []
    assert [one.id for one in records] == ["9007199254740993", "9007199254740994"]
    assert json.loads(records[0].x["example"].tobytes()).get("a") == first  # type: ignore[call-overload]


def test_nested_lists_of_jsonl_are_a_tensor_and_another_shape_is_told() -> None:
    schema = '{label: y, id: k, fields: {a: {kind: tensor, shape: [2, 2]}, y: {kind: category, values: ["0", "1"]}}}'
    cells = [[[1, 2], [3, 4]], [[1, 2], [3]], "x", [[1, 2], [3, None]], None, [1, 2, 3, 4]]
    lines = [json.dumps({"k": n, "a": cell, "y": n % 2}) for n, cell in enumerate(cells)]
    records, rejects = read({"t.jsonl": "\n".join(lines).encode()}, schema, "format: jsonl")
    assert [one.id for one in records] == ["0", "5"]
    assert [(one.where, one.code, one.field) for one in rejects] == [
        ("t.jsonl:2", "bad_shape", "a"), ("t.jsonl:3", "bad_shape", "a"), ("t.jsonl:4", "bad_shape", "a"),
        ("t.jsonl:5", "missing_value", "a"),
    ]  # fmt: skip
    assert rejects[0].reason.endswith("got '[[1, 2], [3]]', expected numbers as nested lists of 2 x 2")
