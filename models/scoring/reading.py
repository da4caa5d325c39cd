"""The rows of a batch as a pipeline's own format reads them, also where nothing says their label.

In a child: it decodes what others delivered, and a format may be the user's.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence, Set
from dataclasses import replace
from typing import Any

import pyarrow as pa
from mlratchet.models.errors import DataError
from mlratchet.models.scoring.headless import names_above
from mlratchet.models.scoring.job import ALONE, FILES, RowFormat
from mlratchet.models.sources.base import Format
from mlratchet.models.sources.csv import CsvOptions
from mlratchet.models.sources.delimited import CsvTable, Dialect, UnreadableTableError
from mlratchet.models.sources.formats import format_of, open_source
from mlratchet.models.sources.pieces import ID, LABEL, WHERE, RawPiece
from mlratchet.models.sources.ranged import Open
from mlratchet.models.sources.record import RawObject, Reject

NO_CLASS = "@"  # the folder in which a file that lies in none is put: no delivery has one of that name
IN_A_FOLDER = {"images": "image_folder", "audio": "audio_folder"}
NOT_ASKED = ("select", "inference_log", "id_column", "group_column", "slice_columns")
"""Options of a source that say which rows are trained on and how they are divided: every row is scored."""
UNREADABLE = "unreadable_file"
Found = RawPiece | Reject


def raw_pieces(how: RowFormat, objects: list[RawObject], open_object: Open, *, needed: Set[str]) -> Iterator[Found]:
    """Tables of bounded size, in the order of the objects, and what cannot be a row with the reason. `needed`: columns
    that a row must have.

    A file that cannot be read as a whole is set aside, and the others are read.
    """
    options = {name: value for name, value in how.options.items() if name not in NOT_ASKED}
    if how.format in FILES:
        yield from _files(how, options, objects, open_object)
        return
    reader = open_source({**options, "format": how.format}, ())
    for part in [[one] for one in objects] if how.format in ALONE else [objects]:
        try:
            yield from _with_names(reader, part, open_object, needed).tables(part, open_object, None)
        except UnreadableTableError as error:
            yield error.reject()
        except DataError as error:
            yield Reject(where=part[0].key, code=UNREADABLE, reason=str(error))


def _with_names(reader: Format, part: list[RawObject], open_object: Open, needed: Set[str]) -> Format:
    """The reader of one file, which may lack columns of a header that it does not have either."""
    options = reader.options
    if not isinstance(options, CsvOptions) or options.header is None:
        return reader
    return type(reader)(options.model_copy(update={"header": names_above(part[0], open_object, options, needed)}))


def _files(how: RowFormat, options: dict[str, Any], objects: list[RawObject], open_object: Open) -> Iterator[Found]:
    name, labels = how.format, how.labels
    table = next((one for one in objects if one.key == labels), None)
    if table is not None:
        yield from _beside_table(name, options, objects, table, open_object)
        return
    as_folder = IN_A_FOLDER.get(name, name)
    known = format_of(as_folder).Options.model_fields
    reader = open_source({k: v for k, v in options.items() if k in known} | {"format": as_folder}, ())
    yield from _without_folder(reader, objects, open_object, all_of_them=as_folder != name)


def _beside_table(
    name: str, options: dict[str, Any], objects: list[RawObject], table: RawObject, open_object: Open
) -> Iterator[Found]:
    """Files that a table names; one without a column of labels names them all the same."""
    reader: Any = open_source({**options, "format": name}, ())
    dialect: Dialect = reader.options.dialect
    with open_object(table) as source:
        labelled = reader.options.label_column in CsvTable(source.read(), table.key, dialect).columns
    if not labelled:
        reader = open_source({**options, "format": name, "label_column": reader.options.file_column}, ())
    for one in reader.tables(objects, open_object, None):
        yield one if labelled or isinstance(one, Reject) else _without_label(one)


def _without_label(one: RawPiece) -> RawPiece:
    return one._replace(table=one.table.drop_columns([LABEL])) if LABEL in one.table.column_names else one


def _without_folder(
    reader: Format, objects: Sequence[RawObject], open_object: Open, *, all_of_them: bool
) -> Iterator[Found]:
    """A file in no folder has no class, and is scored like the others. `all_of_them`: folders are no classes here."""
    moved = {
        f"{NO_CLASS}/{one.key}": one
        for one in objects
        if all_of_them or "/" not in unicodedata.normalize("NFC", one.key)
    }
    there = {one.key for one in moved.values()}
    named = [replace(one, key=key) for key, one in moved.items()] + [one for one in objects if one.key not in there]

    def open_moved(item: RawObject) -> Any:
        return open_object(moved.get(item.key, item))

    for one in reader.tables(named, open_moved, None):
        if isinstance(one, Reject):
            begins = f"{NO_CLASS}/"
            yield replace(one, where=one.where.removeprefix(begins), reason=one.reason.removeprefix(begins))
        else:
            yield one._replace(table=_named_as_before(one.table))


def _named_as_before(table: pa.Table) -> pa.Table:
    begins, columns = f"{NO_CLASS}/", {}
    for name in table.column_names:
        cells = table[name].to_pylist() if name in (WHERE, ID, LABEL, "label") else None
        if cells is None:
            columns[name] = table[name]
        elif name in (WHERE, ID):
            columns[name] = pa.array([one if one is None else one.removeprefix(begins) for one in cells], pa.string())
        else:
            columns[name] = pa.array([None if one == NO_CLASS else one for one in cells], pa.string())
    return pa.table(columns)
