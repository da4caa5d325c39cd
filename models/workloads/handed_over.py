"""Pieces of records as a child hands them over: plain arrays, which nothing but numbers can hide in, and checked as the
tables that they say they are."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from mlratchet.models.ports.children import ForeignCodeError
from mlratchet.models.ports.memory import ObjectsInMemory
from mlratchet.models.ports.storage import ObjectNotFound
from mlratchet.models.sources.record import InputSpec, Reject
from mlratchet.models.sources.record_table import (
    ABOUT,
    CELL,
    REMARKS,
    ROW_COLUMNS,
    TARGET,
    RecordLayout,
    RecordPiece,
    X,
    held_in,
    inputs_in,
    optional_fields,
    plain_fields,
    remarks_in,
    targets_in,
)
from mlratchet.models.tensors.named import misfit
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

if TYPE_CHECKING:
    import pyarrow as pa

WORDS, VALUES, ENDS, GIVEN = "words", "v:", "e:", "g:"  # names of arrays, and what begins those of a column
MOST_WORDS = 500  # characters of a refusal


def to_hand_back(piece: RecordPiece) -> bytes:
    """In the child."""
    words: dict[str, Any] = {"rejects": [[before, asdict(one)] for before, one in piece.rejects]}
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    if piece.table is not None:
        words["about"] = (piece.table.schema.metadata or {})[ABOUT].decode()
        words["columns"] = {name: _kind(piece.table[name].type) for name in piece.table.column_names}
        for name in piece.table.column_names:
            arrays |= _arrays(name, piece.table[name])
    arrays[WORDS] = np.frombuffer(json.dumps(words).encode(), dtype=np.uint8)
    return save({name: np.ascontiguousarray(one) for name, one in arrays.items()})


def _kind(found: pa.DataType) -> str:
    import pyarrow as pa

    return f"bytes {found.byte_width}" if pa.types.is_fixed_size_binary(found) else str(found)


def _arrays(name: str, column: pa.ChunkedArray) -> dict[str, np.ndarray[Any, Any]]:
    import pyarrow as pa

    cells = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    given = {} if not cells.null_count else {GIVEN + name: np.asarray(cells.is_valid()).astype(np.uint8)}
    kind, buffers = cells.type, cells.buffers()
    if pa.types.is_fixed_size_binary(kind):
        width = kind.byte_width
        whole = np.frombuffer(buffers[1] or b"", np.uint8)[cells.offset * width : (cells.offset + len(cells)) * width]
        return {VALUES + name: whole, **given}
    if not (pa.types.is_string(kind) or pa.types.is_large_binary(kind)):
        return {VALUES + name: np.asarray(cells.fill_null(0)), **given}
    wide = np.int64 if pa.types.is_large_binary(kind) else np.int32
    ends = np.frombuffer(buffers[1] or bytes(8), wide)[cells.offset : cells.offset + len(cells) + 1]
    values = np.frombuffer(buffers[2] or b"", np.uint8)[ends[0] : ends[-1]]
    return {VALUES + name: values, ENDS + name: ends - ends[0], **given}


def handed_back(lent: ObjectsInMemory, digest: Any, spec: InputSpec, class_names: Sequence[str] = ()) -> RecordPiece:
    """What a child left. Raises ``ForeignCodeError`` as `piece_of`, and where there is nothing."""
    try:
        data = lent.get(f"out/{digest}")
    except ObjectNotFound as error:
        raise ForeignCodeError(f"records: {error}"[:MOST_WORDS]) from error
    return piece_of(data, spec, class_names)


def piece_of(data: bytes, spec: InputSpec, class_names: Sequence[str] = ()) -> RecordPiece:
    """Of the bytes of `to_hand_back`. Raises ``ForeignCodeError`` for what are no records of these inputs."""
    try:
        parts = load(data)
        words = json.loads(parts[WORDS].tobytes())
        rejects = TypeAdapter(tuple[tuple[int, Reject], ...]).validate_python(words["rejects"])
        table = _table(parts, words, spec, class_names) if "columns" in words else None
    except (
        SafetensorError, ValidationError, ValueError, KeyError, TypeError, AttributeError, RecursionError,
        OverflowError,
    ) as error:  # fmt: skip
        raise ForeignCodeError(f"records: {type(error).__name__}: {error}"[:MOST_WORDS]) from error
    return RecordPiece(table=table, rejects=rejects)


def _table(
    parts: Mapping[str, np.ndarray[Any, Any]], words: Mapping[str, Any], spec: InputSpec, class_names: Sequence[str]
) -> pa.Table:
    import pyarrow as pa

    kinds = dict(words["columns"])
    rows = len(parts[VALUES + ROW_COLUMNS])
    columns = {str(name): _column(str(name), str(kind), parts, rows) for name, kind in kinds.items()}
    table = pa.table(columns).replace_schema_metadata({ABOUT: str(words["about"]).encode()})
    table.validate(full=True)
    held = held_in(table)
    _check_fields(table, held)
    _check_targets(targets_in(table), class_names)
    unfit = misfit(inputs_in(table, held), spec.specs)
    if unfit or held.named != bool(spec.tensors):
        raise ValueError(unfit or "inputs by name, expected one without a name")
    return table


def _check_fields(table: pa.Table, held: RecordLayout) -> None:
    """Raises ``ValueError`` for columns that are not those of records."""
    import pyarrow as pa

    expected = {**plain_fields(), ROW_COLUMNS: pa.int32(), REMARKS: pa.string()}
    inputs = {X + one.name for one in held.tensors}
    for name in table.column_names:
        kind = table.schema.field(name).type
        if name.startswith(CELL):
            fits = kind == pa.string()
        elif name == TARGET:
            numbers_of = math.prod(held.target_shape)
            whole = pa.types.is_fixed_size_binary(kind) and kind.byte_width == 8 * numbers_of and numbers_of > 0
            fits = kind in (pa.int64(), pa.float64()) or whole
        elif name in inputs:
            spec = next(one for one in held.tensors if X + one.name == name)
            fits = kind == (pa.large_binary() if spec.ragged else pa.binary(spec.row_bytes))
        else:
            fits = expected.get(name) == kind
        if not fits:
            raise ValueError(f"column {name!r} of {kind}")
        if table[name].null_count and not (name.startswith(CELL) or name in (*optional_fields(), REMARKS)):
            raise ValueError(f"column {name!r} lacks values")
    lacking = sorted((set(expected) | inputs | {TARGET}) - set(table.column_names))
    if lacking:
        raise ValueError(f"no column {lacking[0]!r}")
    numbers = table[ROW_COLUMNS].to_numpy()
    if len(numbers) and not (numbers.min() >= 0 and numbers.max() < len(held.row_columns)):
        raise ValueError(f"{ROW_COLUMNS}: a number of none")
    for text in table[REMARKS].drop_null().to_pylist():
        remarks_in(text)


def _check_targets(y: np.ndarray[Any, Any], class_names: Sequence[str]) -> None:
    """Raises ``ValueError`` for a target that is no finite number, or one that names no class."""
    if not np.isfinite(y).all():
        raise ValueError("a target is no finite number")
    if class_names and y.ndim == 1 and len(y) and not (y.min() >= 0 and y.max() < len(class_names)):
        raise ValueError(f"a target of {y.min()} to {y.max()}, expected the index of one of {len(class_names)} classes")


def _column(name: str, kind: str, parts: Mapping[str, np.ndarray[Any, Any]], rows: int) -> pa.Array:
    """Raises ``ValueError`` for arrays that are no such column of so many rows."""
    import pyarrow as pa

    values = np.ascontiguousarray(parts[VALUES + name])
    given = parts.get(GIVEN + name)
    if given is not None and (given.dtype != np.uint8 or given.shape != (rows,)):
        raise ValueError(f"column {name!r}: which cells are given is not said of {rows} rows")
    mask = None if given is None else given == 0
    if kind in ("int64", "int32", "double"):
        wanted = {"int64": np.int64, "int32": np.int32, "double": np.float64}[kind]
        if values.dtype != wanted or values.shape != (rows,):
            raise ValueError(f"column {name!r}: {values.dtype} {list(values.shape)}, expected {rows} of {kind}")
        return pa.array(values, mask=mask)
    if values.dtype != np.uint8 or values.ndim != 1:
        raise ValueError(f"column {name!r}: {values.dtype} {list(values.shape)}, expected bytes")
    valid = None if given is None else pa.py_buffer(np.packbits(given != 0, bitorder="little"))
    if kind.startswith("bytes "):
        width = int(kind.removeprefix("bytes "))
        if width < 1 or len(values) != width * rows:
            raise ValueError(f"column {name!r}: {len(values)} bytes, expected {rows} times {width}")
        return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), rows, [valid, pa.py_buffer(values)])
    wide = {"string": np.int32, "large_binary": np.int64}[kind]
    ends = np.ascontiguousarray(parts[ENDS + name])
    wrong = ends.dtype != wide or ends.shape != (rows + 1,) or ends[0] != 0 or ends[-1] != len(values)
    if wrong or bool((np.diff(ends) < 0).any()):
        raise ValueError(f"column {name!r}: its ends do not cut {len(values)} bytes into {rows} cells")
    made = pa.string() if kind == "string" else pa.large_binary()
    return pa.Array.from_buffers(made, rows, [valid, pa.py_buffer(ends), pa.py_buffer(values)])
