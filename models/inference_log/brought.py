"""Labels that are brought as objects below `serving.labels.prefix`: whoever may write there is a declared writer."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq
from mlratchet.models.errors import DataError
from mlratchet.models.inference_log.columns import LABELS
from mlratchet.models.inference_log.config import LabelsConfig
from mlratchet.models.ports.reading import side_by_side
from mlratchet.models.ports.storage import ObjectInfo, ObjectNotFound, ObjectStore
from mlratchet.models.schema.request import is_unicode
from mlratchet.models.sources.delimited import BadRow, CsvTable, decode_text
from mlratchet.models.sources.names_once import names_once
from mlratchet.models.sources.parquet_times import EVERY_YEAR
from mlratchet.models.sources.text_encoding import UTF16_MARKS

logger = logging.getLogger(__name__)

MOST_BYTES = 256 << 20  # of one object: labels are short


def brought_labels(bucket: ObjectStore, config: LabelsConfig) -> pa.Table:
    """Every label below the prefix, with the columns of `LABELS`: each came when its object was written, by the store's
    clock, and its writer is the object. A row that cannot be read is left out, and so is an object of which none can:
    told in the log of the process.

    `config.prefix` is not None.
    """
    return BroughtLabels(bucket, config).read()


class BroughtLabels:
    """The same for who looks again and again: an object that did not change is not read again."""

    def __init__(self, bucket: ObjectStore, config: LabelsConfig) -> None:
        self._bucket, self._config = bucket, config
        self._held: dict[tuple[str, str], pa.Table | None] = {}  # by key and ETag; None: no labels

    def read(self) -> pa.Table:
        """See `brought_labels`."""
        assert self._config.prefix is not None
        found = dict(side_by_side(self._one, self._bucket.list(self._config.prefix), readers=4))
        self._held = found
        return pa.concat_tables([LABELS.empty_table(), *(one for one in found.values() if one is not None)])

    def _one(self, info: ObjectInfo) -> tuple[tuple[str, str], pa.Table | None]:
        name = (info.key, info.etag)
        return name, self._held[name] if name in self._held else _read(self._bucket, info, self._config)


def _read(bucket: ObjectStore, info: ObjectInfo, config: LabelsConfig) -> pa.Table | None:
    where = f"s3://{bucket.bucket}/{info.key}"
    if info.size_bytes > MOST_BYTES:
        logger.warning("%s: labels of %d bytes are not read, at most %d are", where, info.size_bytes, MOST_BYTES)
        return None
    try:
        columns = _columns(bucket.get(info.key), config, where)
    except (pa.ArrowException, KeyError, DataError, ObjectNotFound) as error:
        logger.warning("%s: labels cannot be read: %s", where, str(error)[:300])
        return None
    rows = list(_rows(columns))
    return pa.table(
        {
            "request_id": pa.array([one[0] for one in rows], pa.string()),
            "row": pa.array([one[1] for one in rows], pa.int32()),
            "label": pa.array([one[2] for one in rows], pa.string()),
            "label_s": pa.array([info.modified_s] * len(rows), pa.float64()),
            "writer": pa.array([info.key] * len(rows), pa.string()),
        },
        schema=LABELS,
    )


def _columns(data: bytes, config: LabelsConfig, where: str) -> list[list[str | None]]:
    """Request, row where there is one, and label, of every row that can be read. Raises what Arrow raises, ``KeyError``
    or ``DataError`` where none can."""
    if config.format == "parquet":
        return _texts(pq.read_table(io.BytesIO(data), **EVERY_YEAR), config)
    with suppress(pa.ArrowException, KeyError):
        if data.isascii() and b'"' not in data and config.format == "csv":
            return _texts(_plain_csv(data), config)
        if data.isascii() and config.format == "jsonl":
            return _texts(pyarrow.json.read_json(io.BytesIO(data)), config)
    return _row_by_row(_csv_rows if config.format == "csv" else _json_rows, data, config, where)


def _texts(table: pa.Table, config: LabelsConfig) -> list[list[str | None]]:
    names = [config.request, *([config.row] if config.row in table.column_names else []), config.label]
    columns = [table[name].cast(pa.string()) for name in names]
    return [(pc.utf8_trim_whitespace(one) if config.format == "csv" else one).to_pylist() for one in columns]


def _plain_csv(data: bytes) -> pa.Table:
    """Commas and nothing else that is particular. Raises ``KeyError`` for a blank beside a column's name."""
    header = data.lstrip().split(b"\n", 1)[0].decode().strip().split(",")
    if any(name != name.strip() for name in header):
        raise KeyError
    return pyarrow.csv.read_csv(
        io.BytesIO(data),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=True, null_values=[""]
        ),
    )


Said = tuple[int, Mapping[str, Any] | str]
"""Of a row: the line on which it begins, and its cells, or why it cannot be used."""


def _row_by_row(
    read: Callable[[bytes, LabelsConfig, str], Iterator[Said]], data: bytes, config: LabelsConfig, where: str
) -> list[list[str | None]]:
    """What Arrow does not read as a whole: a spreadsheet's way of writing, and rows of which some cannot be used."""
    found: list[list[str | None]] = [[], [], []]
    left_out, first = 0, ""
    for line, said in read(data, config, where):
        words = said if isinstance(said, str) else ""
        texts = (
            []
            if isinstance(said, str)
            else [_text(said.get(name)) for name in (config.request, config.row, config.label)]
        )
        if any(text is not None and not is_unicode(text) for text in texts):
            words = "bytes that are no UTF-8"
        if words:
            left_out, first = left_out + 1, first or f"line {line}: {words}"
            continue
        for column, text in zip(found, texts, strict=True):
            column.append(text)
    if left_out:
        logger.warning("%s: %d of its labels cannot be read and are left out; the first: %s", where, left_out, first)
    return found


def _csv_rows(data: bytes, config: LabelsConfig, where: str) -> Iterator[Said]:
    table = CsvTable(_as_utf(data), where)
    for name in (config.request, config.label):
        table.require(name)
    for row in table.rows():
        yield row.number, row.words if isinstance(row, BadRow) else row.values


def _as_utf(data: bytes) -> bytes:
    """As it is where it has a mark or is UTF-8; else as a spreadsheet on Windows saves it. A label that this reads
    wrongly is none that the model knows, and counts for nothing."""
    if data.startswith(UTF16_MARKS):
        return data
    try:
        data.decode()
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace").encode()
    return data


def _json_rows(data: bytes, config: LabelsConfig, where: str) -> Iterator[Said]:
    read = 0
    for number, line in enumerate(decode_text(data, where).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            said = json.loads(line, object_pairs_hook=names_once)
        except (ValueError, RecursionError) as error:
            yield number, str(error)
            continue
        if isinstance(said, dict) and config.request in said and config.label in said:
            read += 1
            yield number, said
        else:
            yield number, f"got {line[:60]!r}, expected an object with {config.request} and {config.label}"
    if not read:
        raise DataError(f"{where}: no line is an object with {config.request} and {config.label}")


def _text(value: Any) -> str | None:
    """As Arrow writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return None if value is None or isinstance(value, dict | list) else str(value)


def _rows(columns: list[list[str | None]]) -> Iterator[tuple[str, int, str]]:
    """Those that say what is true of a row."""
    for request_id, *row, label in zip(*columns, strict=True):
        number = (row[0] if row else None) or "0"
        if request_id and label and number.isdecimal() and len(number) < 9:
            yield request_id, int(number), label
