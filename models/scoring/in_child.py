"""Scores the objects of one unit, in a child without keys: reads, prepares, asks the program, and hands back piece by
piece what the process with the credentials publishes.

Shape legend: N rows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.errors import DataError
from mlratchet.models.evaluation.away import model_of
from mlratchet.models.evaluation.score import outputs_of
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.objectives.naming import objective_of
from mlratchet.models.ports.children import Workplace
from mlratchet.models.schema.notation import Notation
from mlratchet.models.scoring.job import RowFormat
from mlratchet.models.scoring.reading import UNREADABLE, Found, raw_pieces
from mlratchet.models.scoring.rows import FittingRows, RowReader, row_reader
from mlratchet.models.sources.pieces import WHERE
from mlratchet.models.sources.ranged import LentObjects, opening
from mlratchet.models.sources.record import RawObject, Reject
from mlratchet.models.tensors.batch import Model
from safetensors.numpy import save

PIECE_ROWS, PIECE_BYTES = 65_536, 32 << 20  # raw rows, and bytes of them, from which on a piece is full
PIECE_NUMBERS = 4 << 20  # of outputs: the more a version answers to a row, the fewer rows fill a piece
BATCH_ROWS = 512  # that the model is asked for together
NO_FINITE = "non_finite_output"
OUTPUT, TARGET, WORDS = "output", "y", "words"  # names of what is handed back


def score_unit(request: Mapping[str, Any], workplace: Workplace) -> int:
    """How many pieces there are. The first `skip` of them were published already: they are read over."""
    torch.set_num_threads(int(request["threads"]))
    signature = Signature.from_json(request["signature"])
    how = RowFormat(**request["reading"])
    model = model_of(request["model"], workplace)
    objects = [RawObject(**one | {"pieces": tuple(one["pieces"])}) for one in request["objects"]]
    reader = row_reader(signature, how)
    found_all = raw_pieces(how, objects, opening(LentObjects(workplace.objects)), needed=reader.needed)
    number = 0
    for found in full_pieces(found_all, reader, int(request["rows"])):
        if number >= int(request["skip"]):
            data = scored(found, reader, model)
            workplace.objects.create(f"out/{number}-{digest_bytes(data)}", data)
        number += 1
    return number


def piece_rows(signature: Signature) -> int:
    """Rows from which on a piece of this version is full."""
    shapes = objective_of(signature.task).output_shapes(signature.classes)
    return max(1, min(PIECE_ROWS, PIECE_NUMBERS // max(1, *map(math.prod, shapes))))


class RawRows(NamedTuple):
    """Some rows of a table that was read, and how the cells of that table are written."""

    table: pa.Table
    notation: Notation | None


def full_pieces(found: Iterator[Found], reader: RowReader, most_rows: int) -> Iterator[list[RawRows | Reject]]:
    """Raw rows and rejects in stretches that hold enough, each less than twice as much. Where one ends depends on what
    was delivered and on the version alone, so that a run that goes on finds the same."""
    held: list[RawRows | Reject] = []
    rows = size = 0
    for one in (part for whole in found for part in _parts(whole, reader, most_rows)):
        held.append(one)
        rows += one.records if isinstance(one, Reject) else one.table.num_rows
        size += 0 if isinstance(one, Reject) else one.table.nbytes
        if rows >= most_rows or size >= PIECE_BYTES:
            yield held
            held, rows, size = [], 0, 0
    if held:
        yield held


def _parts(one: Found, reader: RowReader, most_rows: int) -> Iterator[RawRows | Reject]:
    """A table in slices; what is wrong with how it is written is wrong with all of its rows."""
    if isinstance(one, Reject):
        yield one
        return
    if not one.table.num_rows:
        return
    try:
        notation = reader.notation(one.table)
    except DataError as error:
        yield _left_over(one.table[WHERE].to_pylist(), error)
        return
    for start in range(0, one.table.num_rows, most_rows):
        yield RawRows(one.table.slice(start, most_rows), notation)


def scored(found: list[RawRows | Reject], reader: RowReader, model: Model) -> bytes:
    """Of one piece: safetensors of `output` (N, ...) float32, `y` (N,) float64 where labels are, and words."""
    rejects: list[Reject] = []
    where: list[str] = []
    ids: list[str] = []
    outputs: list[np.ndarray[Any, Any]] = []
    targets: list[np.ndarray[Any, Any]] = []
    labelled = False
    for one in _rows(found, reader):
        if isinstance(one, Reject):
            rejects.append(one)
            continue
        output = outputs_of(model, one.x, BATCH_ROWS)
        if len(output) != len(one.where):
            raise DataError(f"the model gave {len(output)} outputs for {len(one.where)} rows")
        fine = np.isfinite(output).reshape(len(output), -1).all(axis=1)
        for number in np.flatnonzero(~fine).tolist():
            place = one.where[number]
            words = f"{place}: the version answers NaN or infinity"
            rejects.append(Reject(where=place, code=NO_FINITE, reason=words))
        kept = np.flatnonzero(fine).tolist()
        where += [one.where[number] for number in kept]
        ids += [one.ids[number] for number in kept]
        outputs.append(output[fine])
        labelled = labelled or one.y is not None
        targets.append(one.y[fine] if one.y is not None else np.full(len(kept), np.nan))
    words = json.dumps({"where": where, "ids": ids, "rejects": [asdict(one) for one in rejects]})
    arrays: dict[str, Any] = {WORDS: np.frombuffer(words.encode(), np.uint8)}
    if where:
        arrays[OUTPUT] = np.ascontiguousarray(np.concatenate(outputs), dtype=np.float32)
    if where and labelled:
        arrays[TARGET] = np.ascontiguousarray(np.concatenate(targets), dtype=np.float64)
    return save(arrays)


def _rows(found: list[RawRows | Reject], reader: RowReader) -> Iterator[FittingRows | Reject]:
    """What is wrong with a table as a whole is wrong with its rows."""
    for one in found:
        if isinstance(one, Reject):
            yield one
            continue
        if not one.table.num_rows:
            continue
        done: set[str] = set()  # places alone: tensors are scored as they come, and not held
        reading = reader.read(one.table, one.notation)
        try:
            for rows in reading:
                done.update([rows.where] if isinstance(rows, Reject) else rows.where)
                yield rows
        except DataError as error:
            left = [place for place in one.table[WHERE].to_pylist() if place not in done]
            if left:
                yield _left_over(left, error)


def _left_over(places: list[str], error: DataError) -> Reject:
    """Rows that nobody can read, told by the first."""
    return Reject(where=places[0], code=UNREADABLE, reason=f"{places[0]}: {error}"[:2000], records=len(places))
