"""Labels that are brought as objects below a declared prefix: whoever may write there is a declared writer."""

from __future__ import annotations

import hashlib

import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.errors import DataError
from mlratchet.models.inference_log.columns import LABELS
from mlratchet.models.inference_log.config import LabelsConfig
from mlratchet.models.ports.storage import ObjectInfo, ObjectStore
from mlratchet.models.sources.formats import format_of
from mlratchet.models.sources.pieces import RawPiece
from mlratchet.models.sources.ranged import opening_whole
from mlratchet.models.sources.record import RawObject

MOST_OBJECT_BYTES = 256_000_000  # of one object with labels


def brought_labels(
    store: ObjectStore, config: LabelsConfig, *, since_s: float, until_s: float
) -> tuple[pa.Table, list[str]]:
    """Labels of the objects that came in [since_s, until_s) by the store's clock (columns of `LABELS`; `writer` is the
    object, `label_s` when it came), and what could not be read, in words. `store`: the bucket that `config` names."""
    if config.prefix is None:
        return LABELS.empty_table(), []
    tables, problems = [LABELS.empty_table()], []
    for info in store.list(config.prefix):
        if since_s <= info.modified_s < until_s:
            found, wrong = _of_object(store, config, info)
            tables += found
            problems += wrong
    return pa.concat_tables(tables), problems


def _of_object(store: ObjectStore, config: LabelsConfig, info: ObjectInfo) -> tuple[list[pa.Table], list[str]]:
    where = f"{store.bucket}/{info.key}"
    if info.size_bytes > MOST_OBJECT_BYTES:
        return [], [f"{where}: {info.size_bytes} bytes, expected at most {MOST_OBJECT_BYTES} of labels; divide it"]
    data = store.get(info.key)
    item = RawObject(key=info.key, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    kind = format_of(config.format)
    reader = kind(kind.Options.model_validate({"prefix": config.prefix, "format": config.format}))
    tables, problems = [], []
    try:
        for piece in reader.tables([item], opening_whole(lambda _: data)):
            if isinstance(piece, RawPiece):
                tables.append(_typed(piece.table, config, info, where))
            else:
                problems.append(f"{store.bucket}/{piece.where}: {piece.reason}")
    except DataError as error:
        return [], [f"{where}: {error}"]
    return tables, problems


def _typed(table: pa.Table, config: LabelsConfig, info: ObjectInfo, where: str) -> pa.Table:
    """Raises ``DataError`` for a table without the declared columns, or a row that is no number."""
    for name in (config.request, config.label):
        if name not in table.column_names:
            there = ", ".join(name for name in table.column_names if not name.startswith("@"))
            raise DataError(f"{where}: no column {name!r}; got {there}; serving.labels names the columns")
    requests, labels = (pc.cast(table[name], pa.string()) for name in (config.request, config.label))
    try:
        rows = pc.cast(table[config.row], pa.int32()) if config.row in table.column_names else None
    except pa.ArrowInvalid as error:
        raise DataError(f"{where}: column {config.row!r}: expected whole numbers: {error}") from error
    numbers = pa.array([0] * table.num_rows, pa.int32()) if rows is None else pc.fill_null(rows, 0)
    said = [
        requests,
        numbers,
        labels,
        pa.array([info.modified_s] * table.num_rows),
        pa.array([info.key] * table.num_rows),
    ]
    whole = pc.and_(pc.is_valid(requests), pc.is_valid(labels))
    return pa.table(dict(zip(LABELS.names, said, strict=True))).filter(whole).cast(LABELS)
