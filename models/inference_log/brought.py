"""Labels that are brought as objects below `serving.labels.prefix`: whoever may write there is a declared writer."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq
from mlratchet.models.inference_log.columns import LABELS
from mlratchet.models.inference_log.config import LabelsConfig
from mlratchet.models.ports.reading import side_by_side
from mlratchet.models.ports.storage import ObjectInfo, ObjectNotFound, ObjectStore

logger = logging.getLogger(__name__)

MOST_BYTES = 256 << 20  # of one object: labels are short


def brought_labels(bucket: ObjectStore, config: LabelsConfig) -> pa.Table:
    """Every label below the prefix, with the columns of `LABELS`: each came when its object was written, by the store's
    clock, and its writer is the object. An object that cannot be read is left out, and told in the log of the process.

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
        table = _table(bucket.get(info.key), config)
        names = [config.request, *([config.row] if config.row in table.column_names else []), config.label]
        columns = [table[name].cast(pa.string()) for name in names]
    except (pa.ArrowException, KeyError, ObjectNotFound) as error:
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


def _rows(columns: list[pa.ChunkedArray]) -> Iterator[tuple[str, int, str]]:
    """Those that say what is true of a row."""
    for request_id, *row, label in zip(*(column.to_pylist() for column in columns), strict=True):
        number = row[0] if row else "0"
        if request_id and label is not None and (number or "0").isdecimal() and len(number or "0") < 9:
            yield request_id, int(number or "0"), label
