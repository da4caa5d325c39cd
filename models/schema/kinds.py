"""Read one raw column as its kind: typed values, and which rows break which rule of the field."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.errors import DataError
from mlratchet.models.schema.cells import is_text, mask, text_of
from mlratchet.models.schema.fields import Field, Kind, bound_us
from mlratchet.models.schema.nested import flat_column, is_list
from mlratchet.models.schema.notation import Notation
from mlratchet.models.schema.number_cells import read_numbers, why_not
from mlratchet.models.schema.numbers import LARGEST
from mlratchet.models.schema.several import in_parts
from mlratchet.models.schema.time_formats import example_of
from mlratchet.models.schema.times import TYPE, read_moments, read_times

SHOWN = 60  # characters of a value in a message
SOME = 20  # allowed values that a message names


def type_of(field: Field) -> pa.DataType:
    """The type of a typed column."""
    if field.several:
        return pa.list_(pa.string())
    if field.kind == "tensor":
        return pa.list_(pa.float32(), math.prod(field.shape or ()))
    kinds: Mapping[Kind, pa.DataType] = {
        "number": pa.float64(),
        "category": pa.string(),
        "text": pa.string(),
        "letters": pa.string(),
        "entity": pa.string(),
        "time": TYPE,
        "image": pa.binary(),
        "audio": pa.binary(),
    }
    return kinds[field.kind]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """The rows (N,) of a column that break one rule."""

    rows: np.ndarray[Any, Any]
    rule: str | None  # None: `words` tells it, too
    words: Callable[[int], Any]
    """Got and expected, of a row; with the rule before it where `rule` is None."""

    def told(self, row: int) -> tuple[str, str]:
        """Rule and words."""
        return self.words(row) if self.rule is None else (self.rule, self.words(row))


@dataclass(frozen=True, kw_only=True)
class Column:
    """A typed column, its rows (N,) as the raw ones, and what is wrong with some."""

    values: pa.Array
    faults: tuple[Fault, ...]
    raw: pa.Array  # as it was delivered, to show a value


def read_column(name: str, raw: pa.Array, field: Field, notation: Notation, missing: tuple[str, ...]) -> Column:
    """Raises ``DataError`` for a column of a type that the kind cannot be read from."""
    if field.kind == "number":
        values, faults = _numbers(name, raw, field, notation, missing)
    elif field.kind == "time":
        values, faults = _times(name, raw, field, notation, missing)
    elif field.kind in ("image", "audio"):
        values, faults = _bytes(name, raw, field), []
    elif field.kind == "tensor":
        values, faults = _tensors(name, raw, field)
    elif field.several:
        values, faults = _several(name, raw, field, missing)
    else:
        values, faults = _words(name, raw, field, missing)
    if not field.nullable:
        broken = np.any([one.rows for one in faults], axis=0) if faults else np.zeros(len(raw), dtype=bool)
        absent = np.asarray(values.is_null()) & ~broken
        if absent.any():
            words = f"empty, expected {_a(field.kind)}; a field that may lack it is nullable"
            faults = [*faults, Fault(rows=absent, rule="missing_value", words=lambda _: words)]
    return Column(values=values, faults=tuple(faults), raw=raw)


def _numbers(
    name: str, raw: pa.Array, field: Field, notation: Notation, missing: tuple[str, ...]
) -> tuple[pa.Array, list[Fault]]:
    faults = []
    if is_text(raw.type) or pa.types.is_null(raw.type):
        decimal = notation.decimal.get(name, "")
        cells = text_of(name, raw, missing)
        values = read_numbers(cells, decimal)
        bad = np.asarray(cells.is_valid()) & np.asarray(values.is_null())
        faults.append(Fault(rows=bad, rule=None, words=lambda row: why_not(cells[row].as_py(), decimal)))
    elif _is_number(raw.type):
        values = raw.cast(pa.float64(), safe=False)
        finite = mask(pc.less_equal(pc.abs(values), LARGEST)) | np.asarray(raw.is_null())
        rule = "non_finite" if not mask(pc.is_finite(values))[~finite].all() else "overflow"
        words = f"expected a finite number of at most {LARGEST:.4g} in size"
        faults.append(Fault(rows=~finite, rule=rule, words=lambda row: f"got {values[row].as_py()}, {words}"))
    else:
        raise _changed(name, raw, field)
    if field.whole:
        rest = ~mask(pc.equal(pc.floor(values), values)) & np.asarray(values.is_valid())
        faults.append(Fault(rows=rest, rule="not_whole", words=lambda row: f"got {values[row]}, expected no fraction"))
    return values, [*faults, *_bounds(values, field.minimum, field.maximum, field.unit or "")]


def _is_number(kind: pa.DataType) -> bool:
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    return any(test(kind) for test in tests)


def _bounds(values: pa.Array, least: Any, most: Any, unit: str, said: tuple[Any, Any] | None = None) -> list[Fault]:
    low, high = said or (least, most)
    unit = f" {unit}" if unit else ""
    found = []
    if least is not None:
        rows = mask(pc.less(values, least))
        found.append(
            Fault(rows=rows, rule="below_minimum", words=lambda row: f"got {values[row]}{unit}, expected {low} or more")
        )
    if most is not None:
        rows = mask(pc.greater(values, most))
        found.append(
            Fault(
                rows=rows, rule="above_maximum", words=lambda row: f"got {values[row]}{unit}, expected {high} or less"
            )
        )
    return found


def _times(
    name: str, raw: pa.Array, field: Field, notation: Notation, missing: tuple[str, ...]
) -> tuple[pa.Array, list[Fault]]:
    faults = []
    form = notation.times.get(name, "iso")
    if is_text(raw.type) or pa.types.is_null(raw.type) or (pa.types.is_integer(raw.type) and form.startswith("unix")):
        cells = text_of(name, raw, missing)
        values = read_times(cells, form)
        bad = np.asarray(cells.is_valid()) & np.asarray(values.is_null())
        expected = f"expected a time as {form}, e.g. {example_of(form)}"
        faults.append(Fault(rows=bad, rule="not_a_time", words=lambda row: f"got {_shown(cells[row])}, {expected}"))
    elif pa.types.is_timestamp(raw.type) or pa.types.is_date(raw.type):
        values = read_moments(raw)
        bad = np.asarray(raw.is_valid()) & np.asarray(values.is_null())
        words = f"got a {raw.type} beyond, expected a time of the years 1 to 9999"
        faults.append(Fault(rows=bad, rule="not_a_time", words=lambda _: words))
    else:
        raise _changed(name, raw, field)
    least, most = (
        None if one is None else pa.scalar(bound_us(one), pa.int64()).cast(TYPE)
        for one in (field.minimum, field.maximum)
    )
    return values, [*faults, *_bounds(values, least, most, "", (field.minimum, field.maximum))]


def _words(name: str, raw: pa.Array, field: Field, missing: tuple[str, ...]) -> tuple[pa.Array, list[Fault]]:
    try:
        values = text_of(name, raw, missing)
    except DataError as error:
        raise _changed(name, raw, field) from error
    faults = []
    if field.values is not None:
        known = pc.is_in(values, value_set=pa.array(field.values, type=pa.string()))
        expected = _one_of(field.values)
        rows = ~mask(known) & np.asarray(values.is_valid())
        told = values
        faults.append(
            Fault(
                rows=rows,
                rule="unknown_value",
                words=lambda row: f"got {_shown(told[row])}, expected one of {expected}",
            )
        )
    if field.letters is not None:
        alphabet = field.letters
        if alphabet == alphabet.upper():
            values = pc.utf8_upper(values)
        strangers = _strangers(values, alphabet)
        faults.append(
            Fault(
                rows=strangers,
                rule="strange_letter",
                words=lambda row: (
                    f"got {_first_strange(values[row].as_py(), alphabet)}, expected letters of {alphabet}"
                ),
            )
        )
    return values, faults


def _one_of(values: Sequence[str]) -> str:
    return ", ".join(values[:SOME]) + (", ..." if len(values) > SOME else "")


def _several(name: str, raw: pa.Array, field: Field, missing: tuple[str, ...]) -> tuple[pa.Array, list[Fault]]:
    """Lists of values; what is parted by the separator has no blanks around it."""
    try:
        lists = in_parts(name, raw, field, missing)
    except DataError as error:
        raise _changed(name, raw, field) from error
    flat, rows = lists.flatten(), np.asarray(pc.list_parent_indices(lists))
    strange = ~mask(pc.is_in(flat, value_set=pa.array(field.values or (), type=pa.string())))
    broken = np.zeros(len(raw), dtype=bool)
    broken[rows[strange]] = True

    def words(row: int) -> str:
        got = next(one for one in lists[row].as_py() if one not in (field.values or ()))
        return f"got {str(got)[:SHOWN]!r}, expected values among {_one_of(field.values or ())}"

    return lists, [Fault(rows=broken, rule="unknown_value", words=words)]


def _strangers(values: pa.Array, alphabet: str) -> np.ndarray[Any, Any]:
    inside = "".join(f"\\x{{{ord(one):x}}}" for one in alphabet)
    strange: np.ndarray[Any, Any] = ~mask(pc.match_substring_regex(values, f"^[{inside}]*$"))
    strange &= np.asarray(values.is_valid())
    return strange


def _first_strange(text: str, alphabet: str) -> str:
    place = next(place for place, one in enumerate(text) if one not in alphabet)
    return f"{text[place]!r} at place {place + 1}"


def _bytes(name: str, raw: pa.Array, field: Field) -> pa.Array:
    kind = raw.type
    if pa.types.is_null(kind):
        return pa.nulls(len(raw), pa.binary())
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)):
        raise _changed(name, raw, field)
    values = raw.cast(pa.binary())
    return pc.if_else(pc.equal(pc.binary_length(values), 0), pa.scalar(None, pa.binary()), values)


def _tensors(name: str, raw: pa.Array, field: Field) -> tuple[pa.Array, list[Fault]]:
    size = math.prod(field.shape or ())
    if pa.types.is_null(raw.type):
        return pa.nulls(len(raw), type_of(field)), []
    unlike: list[Fault] = []
    if is_text(raw.type) or _holds_lists(raw.type):
        told, (raw, strange) = raw, flat_column(raw, field.shape or ())
        expected = f"expected numbers as nested lists of {' x '.join(map(str, field.shape or ()))}"
        rows = np.asarray(strange, dtype=bool)
        unlike.append(Fault(rows=rows, rule="bad_shape", words=lambda row: f"got {_shown(told[row])}, {expected}"))
    if not is_list(raw.type) or not _is_number(raw.type.value_type):
        raise _changed(name, raw, field)
    lengths = np.asarray(pc.fill_null(pc.list_value_length(raw), size))
    fits = lengths == size
    flat = pc.list_flatten(raw.filter(pa.array(fits & np.asarray(raw.is_valid())))).cast(pa.float32(), safe=False)
    whole = np.zeros((len(raw), size), dtype=np.float32)
    given = fits & np.asarray(raw.is_valid())
    whole[given] = np.asarray(pc.fill_null(flat, float("nan"))).reshape(-1, size)
    broken = np.asarray(~np.isfinite(whole).all(axis=1))
    values = pa.FixedSizeListArray.from_arrays(whole.reshape(-1), size)
    values = pc.if_else(pa.array(given), values, pa.scalar(None, values.type))
    shape = " x ".join(map(str, field.shape or ()))
    return values, [
        *unlike,
        Fault(rows=~fits, rule="bad_shape", words=lambda row: f"got {lengths[row]} numbers, expected {shape} = {size}"),
        Fault(rows=broken, rule="non_finite", words=lambda _: "holds NaN, infinity or nothing, expected numbers"),
    ]


def _holds_lists(kind: pa.DataType) -> bool:
    """Of a column of lists of lists."""
    return is_list(kind) and is_list(kind.value_type)


def _changed(name: str, raw: pa.Array, field: Field) -> DataError:
    seconds = field.kind == "time" and pa.types.is_integer(raw.type)
    fix = "declare its format as unix or unix_ms" if seconds else "`ratchet schema diff` shows what a delivery changes"
    return DataError(f"column {name!r}: its type is {raw.type}, expected {_a(field.kind)}; {fix}")


def _a(kind: Kind) -> str:
    words = {"image": "an image", "audio": "the bytes of a sound", "entity": "an entity", "letters": "letters"}
    return words.get(kind, f"a {kind}")


def _shown(cell: pa.Scalar) -> str:
    return repr(str(cell.as_py())[:SHOWN])
