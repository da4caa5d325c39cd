"""Labels that are brought as objects below `serving.labels.prefix`: whoever may write there is a declared writer."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq
from mlratchet.models.errors import DataError
from mlratchet.models.inference_log.columns import LABELS
from mlratchet.models.inference_log.config import LabelsConfig
from mlratchet.models.ports.reading import side_by_side
from mlratchet.models.ports.storage import ObjectInfo, ObjectNotFound, ObjectStore
from mlratchet.models.sources.delimited import BadRow, CsvTable, decode_text

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
    try:
        table = _table(data, config)
        names = [config.request, *([config.row] if config.row in table.column_names else []), config.label]
        return [table[name].cast(pa.string()).to_pylist() for name in names]
    except (pa.ArrowException, KeyError):
        if config.format == "parquet":
            raise
    return _row_by_row(_csv_rows if config.format == "csv" else _json_rows, data, config, where)


def _table(data: bytes, config: LabelsConfig) -> pa.Table:
    if config.format == "parquet":
        return pq.read_table(io.BytesIO(data))
    if config.format == "jsonl":
        return pyarrow.json.read_json(io.BytesIO(data))
    texts = dict.fromkeys((config.request, config.row, config.label), pa.string())
    return pyarrow.csv.read_csv(
        io.BytesIO(data), parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(column_types=texts, strings_can_be_null=True),
    )  # fmt: skip


Said = tuple[int, Mapping[str, Any] | str]
"""Of a row: the line on which it begins, and its cells, or why it cannot be used."""


def _row_by_row(
    read: Callable[[bytes, LabelsConfig, str], Iterator[Said]], data: bytes, config: LabelsConfig, where: str
) -> list[list[str | None]]:
    """What Arrow does not read as a whole: a spreadsheet's way of writing, and rows of which some cannot be used."""
    found: list[list[str | None]] = [[], [], []]
    left_out, first = 0, ""
    for line, said in read(data, config, where):
        if isinstance(said, str):
            left_out, first = left_out + 1, first or f"line {line}: {said}"
            continue
        for column, name in zip(found, (config.request, config.row, config.label), strict=True):
            column.append(_text(said.get(name)))
    if left_out:
        logger.warning("%s: %d of its labels cannot be read and are left out; the first: %s", where, left_out, first)
    return found


def _csv_rows(data: bytes, config: LabelsConfig, where: str) -> Iterator[Said]:
    table = CsvTable(data, where)
    for name in (config.request, config.label):
        table.require(name)
    for row in table.rows():
        yield row.number, row.words if isinstance(row, BadRow) else row.values


def _json_rows(data: bytes, config: LabelsConfig, where: str) -> Iterator[Said]:
    read = 0
    for number, line in enumerate(decode_text(data, where).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            said = orjson.loads(line)
        except ValueError as error:
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
