"""Look at files on this machine: which kind of delivery they are, and a sample of their rows as raw columns."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO, Literal, cast

import pyarrow as pa
import pyarrow.parquet as pq
from mlratchet.models.drafting.header import looks_like_a_row
from mlratchet.models.errors import DataError
from mlratchet.models.schema.notation import WHERE
from mlratchet.models.sources.base import Format
from mlratchet.models.sources.csv import SUFFIXES as TABLES
from mlratchet.models.sources.delimited import CsvTable, Dialect, Row, UnreadableTableError
from mlratchet.models.sources.fasta import Fasta, FastaOptions
from mlratchet.models.sources.headless import below_its_header
from mlratchet.models.sources.jsonl import Jsonl, JsonlOptions
from mlratchet.models.sources.pieces import PICTURE, SOUND
from mlratchet.models.sources.ranged import opening_whole
from mlratchet.models.sources.record import RawObject, Reject
from mlratchet.models.sources.text_encoding import as_utf8
from PIL import Image, UnidentifiedImageError

SAMPLE_BYTES = 16 << 20  # of a table's first file: what is proposed says of how many rows it was seen
SAMPLE_ROWS = 200_000
HEADER_ROWS = 1_000  # that tell whether the first line is one of them
SAMPLE_FILES = 200  # pictures that are opened
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
SOUNDS = (".wav", ".flac", ".ogg")
LETTERS = (".fasta", ".fa", ".fna", ".faa")
Kind = Literal["table", "parquet", "jsonl", "pictures", "sounds", "letters"]
ENDINGS: dict[Kind, tuple[str, ...]] = {
    "table": TABLES,
    "parquet": (".parquet",),
    "jsonl": (".jsonl", ".ndjson"),
    "pictures": PICTURES,
    "sounds": SOUNDS,
    "letters": LETTERS,
}
HEADLESS = "u.data"  # of MovieLens: ratings without a header
RATINGS = ("user_id", "item_id", "rating", "timestamp")  # which are its columns


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """What a folder of pictures holds."""

    height: int
    width: int
    channels: Literal[1, 3]
    unreadable: int = 0


@dataclass(frozen=True, kw_only=True)
class LocalFiles:
    """What lies there."""

    kind: Kind
    files: tuple[Path, ...]
    table: pa.Table  # a sample of the rows; of pictures and sounds the first bytes
    whole: bool  # whether the sample is all of it
    others: tuple[Path, ...] = ()  # files of another kind
    pictures: Pictures | None = None
    classes: dict[str, int] = field(default_factory=dict)  # files by folder
    label_from: Literal["", "folder", "file"] = ""  # of sequences: where their classes are, if not in descriptions
    header: tuple[str, ...] = ()  # of tables whose first line is a row


def look_at(paths: Sequence[Path], *, header: Sequence[str] | None = None) -> LocalFiles:
    """`header`: names of the columns of delimited files whose first line is a row; empty: that line has them, however
    it looks.

    Raises ``DataError`` for what is not there, for files of no kind that is known, and for a first line of which nobody
    can tell whether it has names.
    """
    files: list[tuple[Path, Path]] = []  # (folder that was named, file)
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: no such file or folder")
        inside = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
        files += [(path if path.is_dir() else path.parent, one) for one in inside if not one.name.startswith(".")]
    kinds = Counter(kind for _, file in files for kind in ENDINGS if _is(file, kind))
    if not kinds:
        endings = ", ".join(ending for some in ENDINGS.values() for ending in some)
        raise DataError(f"{', '.join(map(str, paths))}: nothing that is known; expected files ending in {endings}")
    kind = max(kinds, key=lambda one: kinds[one])
    ours = [(base, file) for base, file in files if _is(file, kind)]
    others = tuple(file for _, file in files if not _is(file, kind))
    if kind in ("pictures", "sounds"):
        return _folders(kind, ours, others)
    label_from, labels = _named_by_places(ours) if kind == "letters" else ("", {})
    if labels and "label" in _fasta(ours[0][1])[0].column_names:
        label_from, labels = "", {}  # descriptions say it
    if header is not None and kind != "table":
        raise DataError(f"--header: {ours[0][1].name} is no delimited text; leave it out")
    table, whole = _sample(kind, [file for _, file in ours], labels, header)
    return LocalFiles(
        kind=kind, files=tuple(file for _, file in ours), table=table, whole=whole, others=others,
        label_from=label_from, header=tuple(header or ()),
    )  # fmt: skip


def _named_by_places(files: list[tuple[Path, Path]]) -> tuple[Literal["", "folder", "file"], dict[Path, str]]:
    """What sequences without a label are: as many classes as folders or, in one folder, as files; none of one alone."""
    inside = {file: file.relative_to(base).parts for base, file in files}
    if all(len(parts) > 1 for parts in inside.values()):
        found = {file: parts[0] for file, parts in inside.items()}
        return ("folder", found) if len({*found.values()}) > 1 else ("", {})
    found = {file: file.name.partition(".")[0] for file in inside}
    return ("file", found) if len({*found.values()}) > 1 else ("", {})


def _is(file: Path, kind: Kind) -> bool:
    return file.name.lower().endswith(ENDINGS[kind]) or (kind == "table" and file.name == HEADLESS)


def _sample(
    kind: Kind, files: list[Path], labels: Mapping[Path, str], header: Sequence[str] | None
) -> tuple[pa.Table, bool]:
    """`labels`: of every file, where its place says them; then rows of all files are looked at."""
    readers: dict[str, Callable[[Path], tuple[pa.Table, bool]]] = {
        "table": partial(_delimited, header=header), "parquet": _parquet, "jsonl": _jsonl, "letters": _fasta,
    }  # fmt: skip
    read = readers[kind]
    tables, whole, rows = [], True, 0
    for file in files:
        if rows >= SAMPLE_ROWS and not labels:
            whole = False
            break
        table, all_of_it = read(file)
        if file in labels:
            table = table.append_column("label", pa.array([labels[file]] * len(table), pa.string()))
        tables.append(table)
        rows, whole = rows + len(table), whole and all_of_it
    first = tables[0].column_names
    for file, table in zip(files, tables, strict=False):
        if set(table.column_names) != set(first):
            strange = sorted(set(table.column_names) ^ set(first))
            raise DataError(
                f"{file}: has other columns than {files[0]}: {', '.join(strange[:5])}; name files of one kind"
            )
    return pa.concat_tables([table.select(first) for table in tables], promote_options="permissive"), whole


def _delimited(file: Path, header: Sequence[str] | None) -> tuple[pa.Table, bool]:
    size = file.stat().st_size
    with file.open("rb") as source:
        data = source.read(SAMPLE_BYTES)
    if len(data) < size:
        data = _whole_rows(data)
    names = RATINGS if file.name == HEADLESS and not header else header
    try:
        table = _table_of(data, file.name, names)
    except UnreadableTableError as error:
        raise DataError(str(error)) from error
    rows, bad = [], None
    for row in table.rows():
        if isinstance(row, Row):
            rows.append(row)
        else:
            bad = bad or row
    if not rows:
        why = f": line {bad.number}: {bad.words}" if bad is not None else ""
        raise DataError(f"{file}: no row can be used{why}")
    columns = {name: pa.array([row.values[name] for row in rows], type=pa.string()) for name in table.columns}
    if names is None:
        _refuse_row_as_names(file, table.columns, [column[:HEADER_ROWS].to_pylist() for column in columns.values()])
    return pa.table({**columns, WHERE: pa.array([f"{file.name}:{row.number}" for row in rows])}), len(data) >= size


def _table_of(data: bytes, where: str, header: Sequence[str] | None) -> CsvTable:
    if not header:
        return CsvTable(data, where)
    text = as_utf8(cast(BinaryIO, io.BytesIO(data)), RawObject(key=where, size_bytes=len(data), sha256="0" * 64), None)
    source, dialect = below_its_header(text, header, where, Dialect(), option="--header")
    return CsvTable(source.read(), where, dialect, skipped=-1)


def _refuse_row_as_names(file: Path, names: Sequence[str], columns: Sequence[Sequence[str]]) -> None:
    words = looks_like_a_row(names, columns)
    if words:
        raise DataError(
            f"{file.name}:1: its first line looks like a row: {words}; say --header NAME,NAME,... ({len(names)} names) "
            "where the file has no names of its columns, or --header first where these are the names"
        )


def _whole_rows(data: bytes) -> bytes:
    """Up to the last line end that is no part of a quoted cell."""
    end = data.rfind(b"\n") + 1
    for _ in range(1000):
        if data.count(b'"', 0, end) % 2 == 0:
            return data[:end]
        end = data.rfind(b"\n", 0, max(end - 1, 0)) + 1
    return data[:end]


def _parquet(file: Path) -> tuple[pa.Table, bool]:
    try:
        source = pq.ParquetFile(file)
        batch = next(source.iter_batches(batch_size=SAMPLE_ROWS), None)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{file}: not readable as Parquet: {error}") from error
    table = pa.Table.from_batches([batch]) if batch is not None else source.schema_arrow.empty_table()
    return _placed(table, file), source.metadata.num_rows <= SAMPLE_ROWS


def _jsonl(file: Path) -> tuple[pa.Table, bool]:
    """As the format reads it: what is nested is text."""
    with file.open("rb") as source:
        data = source.read(SAMPLE_BYTES)
    whole = len(data) == file.stat().st_size
    data = data if whole else data[: data.rfind(b"\n") + 1]
    return _as_read(Jsonl(JsonlOptions(prefix="/")), file, data), whole


def _fasta(file: Path) -> tuple[pa.Table, bool]:
    """Without the descriptions: what they tell as name=value are columns."""
    return _as_read(Fasta(FastaOptions(prefix="/")), file, file.read_bytes()).drop_columns(["description"]), True


def _as_read(reader: Format, file: Path, data: bytes) -> pa.Table:
    """The rows that a format gives. Raises ``DataError`` where there is none."""
    item = RawObject(key=file.name, size_bytes=len(data), sha256="0" * 64)
    tables, bad = [], None
    for one in reader.tables([item], opening_whole(lambda _item: data)):
        if isinstance(one, Reject):
            bad = bad or one
        else:
            tables.append(one.table)
    if not tables:
        raise DataError(f"{file}: no row can be used{f': {bad.reason}' if bad is not None else ''}")
    return pa.concat_tables(tables, promote_options="permissive")


def _placed(table: pa.Table, file: Path) -> pa.Table:
    return table.append_column(
        WHERE, pa.array([f"{file.name}:{row + 1}" for row in range(len(table))], type=pa.string())
    )


def _folders(kind: Kind, files: list[tuple[Path, Path]], others: tuple[Path, ...]) -> LocalFiles:
    """The folder directly below what was named is the class."""
    inside = [(file, file.relative_to(base).parts[0]) for base, file in files if len(file.relative_to(base).parts) > 1]
    classes = Counter(label for _, label in inside)
    table = pa.table(
        {
            PICTURE if kind == "pictures" else SOUND: pa.array([_beginning(file) for file, _ in inside], pa.binary()),
            "label": pa.array([label for _, label in inside], pa.string()),
            WHERE: pa.array([file.name for file, _ in inside], pa.string()),
        }
    )
    seen = _pictures([file for _, file in files]) if kind == "pictures" else None
    return LocalFiles(
        kind=kind, files=tuple(file for _, file in files), table=table, whole=True, others=others, pictures=seen,
        classes=dict(sorted(classes.items())),
    )  # fmt: skip


def _beginning(file: Path) -> bytes:
    """Enough to tell what it is."""
    with file.open("rb") as source:
        return source.read(16)


def _pictures(files: list[Path]) -> Pictures:
    sizes, grey, unreadable = [], True, 0
    for file in files[:: max(1, len(files) // SAMPLE_FILES)]:
        try:
            with Image.open(file) as picture:
                sizes.append(picture.size)
                grey = grey and picture.mode in ("1", "L", "I;16")
        except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
            unreadable += 1
    if not sizes:
        raise DataError(f"{files[0]}: no picture of those that were opened can be read")
    widths, heights = (sorted(size[axis] for size in sizes) for axis in (0, 1))
    return Pictures(
        height=heights[len(heights) // 2],
        width=widths[len(widths) // 2],
        channels=1 if grey else 3,
        unreadable=unreadable,
    )
