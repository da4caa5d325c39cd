"""Look at files on this machine: which kind of delivery they are, and a sample of their rows as raw columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
from mlratchet.models.drafting.files_below import files_below
from mlratchet.models.drafting.other_kinds import next_step
from mlratchet.models.drafting.text_tables import HEADLESS, DraftSample, Written, delimited, first_text, require_names
from mlratchet.models.errors import DataError
from mlratchet.models.schema.cells import is_text, one_array, text_of
from mlratchet.models.schema.notation import WHERE
from mlratchet.models.sources.base import Format
from mlratchet.models.sources.csv import SUFFIXES as TABLES
from mlratchet.models.sources.fasta import FASTA, FASTQ, Fasta, FastaOptions
from mlratchet.models.sources.jsonl import SUFFIXES as JSONL
from mlratchet.models.sources.jsonl import Jsonl, JsonlOptions
from mlratchet.models.sources.parquet import SUFFIXES as PARQUET
from mlratchet.models.sources.parquet_times import EVERY_YEAR
from mlratchet.models.sources.pieces import PICTURE, SOUND
from mlratchet.models.sources.ranged import opening_whole
from mlratchet.models.sources.record import RawObject, Reject, place_of
from mlratchet.models.sources.sounds import SUFFIXES as SOUNDS
from mlratchet.models.sources.unpacking import UnreadableObjectError, bare_name, read_bounded, unpacked
from PIL import Image, UnidentifiedImageError

SAMPLE_ROWS = 200_000
SAMPLE_FILES = 200  # pictures that are opened
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
Kind = Literal["table", "parquet", "jsonl", "pictures", "sounds", "letters"]
ENDINGS: dict[Kind, tuple[str, ...]] = {
    "table": TABLES,
    "parquet": PARQUET,
    "jsonl": JSONL,
    "pictures": PICTURES,
    "sounds": SOUNDS,
    "letters": FASTA + FASTQ,
}
PACKED: tuple[Kind, ...] = ("table", "jsonl", "letters")  # which are read packed, too


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
    written: Written = field(default_factory=Written)  # what was said of tables
    unreadable: tuple[str, ...] = ()  # why rows are not in the sample


def look_at(paths: Sequence[Path], *, written: Written | None = None) -> LocalFiles:
    """`written`: how delimited files are.

    Raises ``DataError`` for what is not there or cannot be read, for files of no kind that is known, and for a first
    line of which nobody can tell whether it has names.
    """
    files: list[tuple[Path, Path]] = []  # (folder that was named, file)
    for path in paths:
        base = path if path.is_dir() else path.parent
        files += [(base, one) for one in files_below(path)]
    known = [(kind, file) for _, file in files for kind in ENDINGS if _is(file, kind)]
    beside = [kind for kind, file in known if file.suffix.lower() == ".json"]  # mostly what is known of other files
    kinds = Counter(kind for kind, file in known if file.suffix.lower() != ".json") or Counter(beside)
    if not kinds:
        endings = ", ".join(ending for some in ENDINGS.values() for ending in some)
        step = next_step(file for _, file in files)
        raise DataError(
            f"{', '.join(map(str, paths))}: nothing that is known; expected files ending in {endings}"
            f"{f'; {step}' if step else ''}"
        )
    kind = max(kinds, key=lambda one: kinds[one])
    ours = [(base, file) for base, file in files if _is(file, kind)]
    others = tuple(file for _, file in files if not _is(file, kind))
    if kind in ("pictures", "sounds"):
        return _folders(kind, ours, others)
    label_from, labels = _named_by_places(ours) if kind == "letters" else ("", {})
    if labels and "label" in _fasta(ours[0][1]).table.column_names:
        label_from, labels = "", {}  # descriptions say it
    written = written or Written()
    if kind != "table" and (said := written.options()):
        raise DataError(f"{said[0]}: {ours[0][1].name} is no delimited text; leave it out")
    sample = _sample(kind, [file for _, file in ours], labels, written)
    return LocalFiles(
        kind=kind, files=tuple(file for _, file in ours), table=sample.table, whole=sample.whole, others=others,
        label_from=label_from, written=written, unreadable=sample.unreadable,
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
    name = bare_name(file.name) if kind in PACKED else file.name.lower()
    return name.endswith(ENDINGS[kind]) or (kind == "table" and file.name == HEADLESS)


def _sample(kind: Kind, files: list[Path], labels: Mapping[Path, str], written: Written) -> DraftSample:
    """`labels`: of every file, where its place says them; then rows of all files are looked at."""
    readers: dict[str, Callable[[Path], DraftSample]] = {
        "table": partial(delimited, written=written), "parquet": _parquet, "jsonl": _jsonl, "letters": _fasta,
    }  # fmt: skip
    read = readers[kind]
    tables: list[pa.Table] = []
    unreadable: list[str] = []
    whole, rows = True, 0
    for file in files:
        if rows >= SAMPLE_ROWS and not labels:
            whole = False
            break
        sample = read(file)
        table = sample.table
        if file in labels:
            table = table.append_column("label", pa.array([labels[file]] * len(table), pa.string()))
        tables.append(table)
        unreadable += sample.unreadable
        rows, whole = rows + len(table), whole and sample.whole
    first = tables[0].column_names
    for file, table in zip(files, tables, strict=False):
        if set(table.column_names) != set(first):
            strange = sorted(set(table.column_names) ^ set(first))
            raise DataError(
                f"{file}: has other columns than {files[0]}: {', '.join(strange[:5])}; name files of one kind"
            )
    joined = _joined([table.select(first) for table in tables])
    return DraftSample(table=joined, whole=whole, unreadable=tuple(unreadable))


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    """One below the other; a column that is text in some, and numbers or truth values in others, is text.

    Raises ``DataError`` for a column of types that have nothing in common.
    """
    for name in tables[0].column_names:
        kinds = {one[name].type: None for one in tables if name in one.column_names}
        if len(kinds) > 1 and any(is_text(kind) for kind in kinds):
            tables = [_with_text(one, name) for one in tables]
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        where = place_of(str(tables[-1][WHERE][0].as_py()))[0]
        raise DataError(
            f"{where}: a column has another type than in the rows before it ({error}); write it in one"
        ) from error


def _with_text(table: pa.Table, name: str) -> pa.Table:
    if name not in table.column_names or is_text(table[name].type) or pa.types.is_null(table[name].type):
        return table
    column = one_array(table[name])
    plain = column.cast(pa.string()) if pa.types.is_floating(column.type) else text_of(name, column)
    return table.set_column(table.column_names.index(name), name, plain)


def _parquet(file: Path) -> DraftSample:
    try:
        source = pq.ParquetFile(file, **EVERY_YEAR)
        batch = next(source.iter_batches(batch_size=SAMPLE_ROWS), None)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{file}: not readable as Parquet: {error}") from error
    require_names(source.schema_arrow.names, file.name)
    table = pa.Table.from_batches([batch]) if batch is not None else source.schema_arrow.empty_table()
    return DraftSample(table=_placed(table, file), whole=source.metadata.num_rows <= SAMPLE_ROWS)


def _jsonl(file: Path) -> DraftSample:
    """As the format reads it: what is nested is text."""
    data, whole = first_text(file)
    return _as_read(Jsonl(JsonlOptions(prefix="/")), file, data, whole)


def _fasta(file: Path) -> DraftSample:
    """Without the descriptions, of which what they tell as name=value are columns, and without qualities: as a text
    each would be words of its own."""
    item = RawObject(key=file.name, size_bytes=file.stat().st_size, sha256="0" * 64)
    try:
        with file.open("rb") as packed:
            data = read_bounded(unpacked(packed, item), item)
    except UnreadableObjectError as error:
        raise DataError(str(error)) from error
    found = _as_read(Fasta(FastaOptions(prefix="/")), file, data, whole=True)
    left_out = [name for name in ("description", "quality") if name in found.table.column_names]
    return replace(found, table=found.table.drop_columns(left_out))


def _as_read(reader: Format, file: Path, data: bytes, whole: bool) -> DraftSample:
    """The rows that a format gives. Raises ``DataError`` where there is none."""
    item = RawObject(key=bare_name(file.name), size_bytes=len(data), sha256="0" * 64)
    tables: list[pa.Table] = []
    bad: list[str] = []
    for one in reader.tables([item], opening_whole(lambda _item: data)):
        if isinstance(one, Reject):
            bad.append(one.reason)
        else:
            tables.append(one.table)
    if not tables:
        raise DataError(f"{file}: no row can be used{f': {bad[0]}' if bad else ''}")
    return DraftSample(table=_joined(tables), whole=whole, unreadable=tuple(bad))


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
