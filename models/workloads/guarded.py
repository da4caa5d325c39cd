"""What a reader gives, whoever wrote it: an exception is about the data and says where, and a record that nobody can
use is set aside. Wherever a delivery is read, in this process or in a child, it is read through here."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from sys import version_info
from typing import Any

import numpy as np
from mlratchet.models.errors import DataError, RatchetError
from mlratchet.models.sources.arrow_memory import keep_freed_memory
from mlratchet.models.sources.base import AFTER, Format
from mlratchet.models.sources.record import InputSpec, RawObject, Record, Reject, Target
from mlratchet.models.sources.record_table import (
    RecordPiece,
    as_target,
    gathered,
    merged_rejects,
    pieces_of_records,
    targets_in,
)
from mlratchet.models.tensors.named import Row, example_misfit
from mlratchet.models.tensors.spec import ONE
from mlratchet.models.workloads.base import Workload

NOT_THE_USERS = {"site-packages", "mlratchet", f"python{version_info.major}.{version_info.minor}"}  # folders of code
Fetch = Callable[[RawObject], bytes]


class _Last:
    """The place of the last record that was read."""

    where = ""


@contextmanager
def reading(workload: Workload) -> Iterator[_Last]:
    """Raises ``DataError`` for whatever is none of our errors: with the user's own line, and after which record."""
    last = _Last()
    try:
        yield last
    except DataError as error:
        raise DataError(str(error)) from error  # a child's errors are believed by their kind alone
    except RatchetError:
        raise
    except Exception as error:  # a user's own reader: what it raises is about the data, and names no file
        who, line = _raised_by(error, workload)
        notes = (note for note in getattr(error, "__notes__", ()) if note.startswith(AFTER))
        place = next(notes, f"{AFTER}{last.where}" if last.where else "before its first record")
        words = " ".join(str(error).split())
        raise DataError(
            f"{who} cannot read the delivery: {type(error).__name__}: {words} ({line}), {place}; give what cannot be "
            "read: yield Reject(where='file:row', code='short_name', reason='...'), never raise it"
        ) from error


def _raised_by(error: Exception, workload: Workload) -> tuple[str, str]:
    """The class whose method raised it, a user's before one of ours, as a format of theirs; and the line."""
    frames = [*traceback.walk_tb(error.__traceback__)]
    own = [one for one in frames if not set(Path(one[0].f_code.co_filename).parts) & NOT_THE_USERS] or frames
    readers = (frame.f_locals.get("self") for frame, _ in reversed(own))
    reader = next((one for one in readers if isinstance(one, Format | Workload)), workload)
    frame, number = own[-1]
    return type(reader).__name__, f"{Path(frame.f_code.co_filename).name}:{number}"


def guarded_records(
    workload: Workload, objects: list[RawObject], fetch: Fetch, source: Mapping[str, Any]
) -> Iterator[Record | Reject]:
    """As the workload reads them; a record that cannot be used is a reject. Raises ``DataError`` as `reading`."""
    with reading(workload) as last:
        spec, refused = workload.input_spec(), workload.objective.refusal
        names = workload.class_names()
        target_size: tuple[int, ...] | None = None
        for found in workload.records(objects, fetch, source):
            last.where = found.where or last.where
            if isinstance(found, Reject):
                yield found
                continue
            where = found.where or found.id
            tensors = spec.specs if isinstance(found.x, Mapping) else spec.tensors
            unfit = example_misfit(found.x, tensors) if tensors else _other_shape(found.x, spec.shape)
            if unfit:
                yield Reject(where=where, code="bad_shape", reason=f"{where}: {unfit}")
                continue
            if isinstance(found.x, Mapping):
                found = replace(found, x=_arrays(found.x, spec))
            problem = refusal_of(refused, found.y, names)
            problem = problem or _other_size(np.shape(found.y), target_size)
            if problem:
                yield Reject(where=where, code="bad_target", reason=f"{where}: target: {problem}")
                continue
            target_size = np.shape(found.y)  # of one that is used: a refused one says nothing of the others
            yield found


def _other_size(size: tuple[int, ...], expected: tuple[int, ...] | None) -> str:
    """What is wrong with a target of this size beside those before."""
    if expected is None or size == expected:
        return ""
    return f"got {list(size)} numbers, expected {list(expected)} as in the rows before; fill it up"


def refusal_of(refused: Callable[[Any, tuple[str, ...]], str], target: Any, names: tuple[str, ...]) -> str:
    """What an objective says of a target; whatever it says, one that cannot be kept is refused."""
    try:
        return refused(target, names) or _unkept(target)
    except Exception as error:  # noqa: BLE001 - of a user's own objective: it is about this record
        return f"got {target!r}, {type(error).__name__}: {error}"


def _unkept(target: Target) -> str:
    """Why it has no place in a table or in an index. Raises ``ValueError`` for things of different sizes."""
    finite = np.isfinite(np.asarray(target, np.float64)).all() if isinstance(target, tuple) else math.isfinite(target)
    return "" if finite else f"got {target!r}, expected finite numbers"


def guarded_pieces(
    workload: Workload, objects: list[RawObject], fetch: Fetch, source: Mapping[str, Any]
) -> Iterator[RecordPiece]:
    """The same in tables. Raises ``DataError`` as `reading`."""
    keep_freed_memory()
    with reading(workload) as last:
        found = workload.record_pieces(objects, fetch, source)
        for piece in gathered(found or ()):
            yield _learnable(piece, workload)
            if piece.table is not None:
                last.where = piece.table["where"][-1].as_py()
    if found is None:
        records = guarded_records(workload, objects, fetch, source)
        yield from pieces_of_records(records, workload.input_spec().tensors)


def guarded_groups(
    workload: Workload, groups: Sequence[Sequence[RawObject]], fetch: Fetch, source: Mapping[str, Any]
) -> Iterator[tuple[int, RecordPiece]]:
    """The same of groups of objects, each read by itself: the number of the group beside every piece."""
    for number, objects in enumerate(groups):
        for piece in guarded_pieces(workload, list(objects), fetch, source):
            yield number, piece


def _learnable(piece: RecordPiece, workload: Workload) -> RecordPiece:
    """Without the records whose target the objective refuses."""
    if piece.table is None:
        return piece
    refused, names = workload.objective.refusal, workload.class_names()
    held = targets_in(piece.table)
    if held.ndim == 1:
        different, which = np.unique(held, return_inverse=True)
    else:
        different, which = held, np.arange(len(held))
    told = [refusal_of(refused, as_target(one), names) for one in different.tolist()]
    if not any(told):
        return piece
    bad = np.asarray([bool(words) for words in told])[which]
    places = piece.table["where"].to_pylist()
    wrong = [
        (row, Reject(where=places[row], code="bad_target", reason=f"{places[row]}: target: {told[which[row]]}"))
        for row in np.flatnonzero(bad).tolist()
    ]
    left = piece.table.filter(~bad)
    return RecordPiece(table=left if left.num_rows else None, rejects=merged_rejects(piece.rejects, wrong))


def _other_shape(x: Any, shape: tuple[int, ...]) -> str:
    if isinstance(x, np.ndarray) and x.shape == shape:
        return ""
    return f"got an input of shape {list(np.shape(x))}, expected {list(shape)}"


def _arrays(x: Mapping[str, Any], spec: InputSpec) -> Row:
    found = {one.name: np.asarray(x[one.name], dtype=one.dtype) for one in spec.specs}
    return found if spec.tensors else found[ONE]
