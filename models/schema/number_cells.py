"""Read a column of numbers at once, by the rules of `numbers`: the same values, and the same refusals, cell by cell."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.schema.cell_bytes import Bytes, Places, ends_and_bytes
from mlratchet.models.schema.cells import mask
from mlratchet.models.schema.numbers import LARGEST, LONGEST, CellError, Mark, Seen, Shape, read_number

POWER = r"([eE][+-]?[0-9]+)?"
GROUP = 3  # digits
GROUPED = r"[1-9][0-9]{0,2}"
SHAPES: tuple[tuple[Shape, str], ...] = (  # the first that fits; what fits none tells nothing
    ("point_or_thousands", rf"^[+-]?{GROUPED}\.[0-9]{{3}}{POWER}$"),
    ("comma_or_thousands", rf"^[+-]?{GROUPED},[0-9]{{3}}{POWER}$"),
    (
        "point",
        rf"^[+-]?([0-9]+\.[0-9]*|\.[0-9]+|{GROUPED}((,[0-9]{{3}})+\.[0-9]*|(,[0-9]{{3}}){{2,}})){POWER}$",
    ),
    (
        "comma",
        rf"^[+-]?([0-9]+,[0-9]*|,[0-9]+|{GROUPED}((\.[0-9]{{3}})+,[0-9]*|(\.[0-9]{{3}}){{2,}})){POWER}$",
    ),
)
PLAIN = {  # decimal mark -> numbers without thousands
    ".": rf"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+){POWER}$",
    ",": rf"^[+-]?([0-9]+,?[0-9]*|,[0-9]+){POWER}$",
}
WITH_THOUSANDS = {
    ".": rf"^[+-]?{GROUPED}(,[0-9]{{3}})+(\.[0-9]*)?{POWER}$",
    ",": rf"^[+-]?{GROUPED}(\.[0-9]{{3}})+(,[0-9]*)?{POWER}$",
}


def see_numbers(seen: Seen, cells: pa.Array, where: pa.Array) -> None:
    """Add a column's cells (strings, N) with their places to what is known of its marks."""
    if _see_plain(seen, cells, where):
        return
    some = pc.and_(pc.match_substring_regex(cells, "[.,]"), pc.less_equal(pc.utf8_length(cells), LONGEST))
    if not pc.any(some).as_py():
        return
    left, places = cells.filter(some), where.filter(some)
    for shape, pattern in SHAPES:
        fits = pc.match_substring_regex(left, pattern)
        if pc.any(fits).as_py():
            _count(seen, shape, fits, left, places)
            left, places = left.filter(pc.invert(fits)), places.filter(pc.invert(fits))
        if not len(left):
            return


def _see_plain(seen: Seen, cells: pa.Array, where: pa.Array) -> bool:
    """Whether no cell holds more than a number with one mark, the same in all, as of most columns: then it is quickly
    counted."""
    if cells.null_count:
        cells, where = cells.drop_null(), where.filter(cells.is_valid())
    ends, data = ends_and_bytes(cells)
    mark: Mark = "," if (data == ord(",")).any() else "."
    if _cast(cells, mark) is None or int(np.diff(ends).max(initial=0)) > LONGEST:
        return False
    shapes: tuple[Shape, Shape] = ("comma_or_thousands", "comma") if mark == "," else ("point_or_thousands", "point")
    marks = np.flatnonzero(data == ord(mark))  # a cell that was cast has one at most
    rows = np.arange(len(cells)) if len(marks) == len(cells) else np.searchsorted(ends, marks, side="right") - 1
    either = _may_part_thousands(marks, rows, ends, data)
    _count_rows(seen, shapes[0], rows[either], cells, where)
    _count_rows(seen, shapes[1], rows[~either], cells, where)
    return True


def _may_part_thousands(marks: Places, rows: Places, ends: Places, data: Bytes) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Of each mark, whether one to three digits stand before it, the first no zero, and three behind it."""
    begins = ends[rows]
    begins = begins + ((data[begins] == ord("-")) | (data[begins] == ord("+")))
    before = marks - begins
    behind = ends[rows + 1] - marks - 1
    if len(marks) and ((data | 0x20) == ord("e")).any():
        powers = np.append(np.flatnonzero((data | 0x20) == ord("e")), len(data))
        behind = np.minimum(behind, powers[np.searchsorted(powers, marks)] - marks - 1)
    found: np.ndarray[Any, np.dtype[np.bool_]] = (behind == GROUP) & (before >= 1) & (before <= GROUP)
    found[found] = data[begins[found]] != ord("0")
    return found


def _cast(cells: pa.Array, decimal: Mark) -> pa.Array | None:
    """All cells as float64 at once; None where one is more than a number with this mark, or none."""
    if decimal == ",":
        if pc.any(pc.match_substring(cells, ".")).as_py():
            return None
        cells = pc.replace_substring(cells, ",", ".")
    with suppress(pa.ArrowInvalid):
        return cells.cast(pa.float64())
    return None


def _count_rows(seen: Seen, shape: Shape, rows: Places, cells: pa.Array, where: pa.Array) -> None:
    """Of the cells in these rows, ascending."""
    if len(rows):
        seen.counts[shape] = seen.counts.get(shape, 0) + len(rows)
        seen.first.setdefault(shape, (where[int(rows[0])].as_py(), cells[int(rows[0])].as_py()[:60]))


def _count(seen: Seen, shape: Shape, fits: pa.Array, cells: pa.Array, where: pa.Array) -> None:
    count = int(pc.sum(fits).as_py() or 0)
    if count:
        first = int(np.argmax(mask(fits)))
        seen.counts[shape] = seen.counts.get(shape, 0) + count
        seen.first.setdefault(shape, (where[first].as_py(), cells[first].as_py()[:60]))


def read_numbers(cells: pa.Array, decimal: Mark) -> pa.Array:
    """Cells (strings, N) as float64; null where one is null, or no usable number (`why_not` says why)."""
    values = _cast(cells, decimal)
    if values is None:
        values = _by_shape(cells, "," if decimal == "," else ".")
    usable = mask(pc.less_equal(pc.abs(values), LARGEST))  # so neither NaN nor infinity
    return values if usable.all() else pc.if_else(pa.array(usable), values, None)


def _by_shape(cells: pa.Array, decimal: Literal[".", ","]) -> pa.Array:
    other = "," if decimal == "." else "."
    plain = pc.match_substring_regex(cells, PLAIN[decimal])
    grouped = pc.match_substring_regex(cells, WITH_THOUSANDS[decimal])
    without = pc.if_else(grouped, pc.replace_substring(cells, other, ""), cells)
    ready = pc.replace_substring(without, ",", ".") if decimal == "," else without
    return pc.if_else(pc.or_(plain, grouped), ready, _others(cells, pc.or_(plain, grouped), decimal)).cast(pa.float64())


def _others(cells: pa.Array, known: pa.Array, decimal: Literal[".", ","]) -> pa.Array:
    """What has another shape, as text that reads as a number; null where it is none."""
    coded = pc.dictionary_encode(pc.if_else(known, None, cells))
    spelled = [repr(value) if (value := _tried(text, decimal)) is not None else None for text in _texts(coded)]
    return pa.array(spelled, type=pa.string()).take(coded.indices)


def _texts(coded: pa.DictionaryArray) -> list[str]:
    texts: list[str] = coded.dictionary.to_pylist()
    return texts


def _tried(text: str, decimal: Mark) -> float | None:
    try:
        return read_number(text, decimal=decimal)
    except CellError:
        return None


def why_not(text: str, decimal: Mark) -> tuple[str, str]:
    """Rule and words for a cell that `read_numbers` refused."""
    try:
        read_number(text, decimal=decimal)
    except CellError as error:
        return error.code, str(error)
    raise AssertionError(f"{text!r} is a number")
