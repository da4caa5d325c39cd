"""What a client sends: one example as JSON becomes typed values by the schema, or the field that is wrong is told."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from mlratchet.models.nearest import nearest_hint
from mlratchet.models.schema.fields import Field, Kind, Schema
from mlratchet.models.schema.kinds import SHOWN, read_column, type_of
from mlratchet.models.schema.nested import as_float, flat
from mlratchet.models.schema.notation import Notation
from mlratchet.models.schema.plain import are_plain
from mlratchet.models.schema.time_formats import ISO, example_of
from mlratchet.models.schema.times import iso, read_times

WORDS: Mapping[Kind, str] = {
    "number": "a number",
    "category": "text",
    "text": "text",
    "letters": "text",
    "entity": "text",
    "time": "a time as text, e.g. 2026-01-31T12:00:00Z",
    "image": "the bytes of the image in base64",
    "audio": "the bytes of the sound in base64",
    "tensor": "a list of numbers",
}
MLFLOW: Mapping[Kind, str] = {
    "number": "double", "category": "string", "text": "string", "letters": "string", "entity": "string",
    "time": "datetime", "image": "binary", "audio": "binary",
}  # fmt: skip


class FieldError(ValueError):
    """A client's example that cannot be used; `field` is at fault (empty: the example as a whole)."""

    def __init__(self, field: str, rule: str, words: str, *, row: int | None = None) -> None:
        place = "" if row is None else f"example {row}: "
        super().__init__(f"{place}field {field!r}: {words}" if field else f"{place}{words}")
        self.field = field
        self.rule = rule  # a short stable word
        self.row = row  # of several examples


def parse_example(document: Any, schema: Schema, notation: Notation | None = None) -> pa.Table:
    """One example as a table of one row, a column per input. Raises ``FieldError``.

    `notation`: as decided for training, so that a time is understood as it was written there; ISO 8601 always is.
    """
    return _table([_checked(document, schema, None)], schema, notation, several=False)


def parse_examples(documents: Any, schema: Schema, notation: Notation | None = None) -> pa.Table:
    """A list of examples, a row each. Raises ``FieldError`` with the number of the first that cannot be used."""
    if not isinstance(documents, list):
        raise FieldError("", "not_a_list", f"got {_kind(documents)}, expected a list of examples")
    rows = [_checked(one, schema, number) for number, one in enumerate(documents)]
    return _table(rows, schema, notation, several=True)


def _checked(document: Any, schema: Schema, row: int | None) -> Mapping[str, Any]:
    if not isinstance(document, Mapping):
        expected = f"expected an object with {', '.join(schema.inputs)}"
        raise FieldError("", "not_an_object", f"got {_kind(document)}, {expected}", row=row)
    inputs = schema.inputs
    for name in document:
        if name not in inputs:
            raise FieldError(str(name), "unknown_field", f"unknown; {nearest_hint(str(name), inputs)}", row=row)
    for name, field in inputs.items():
        if name not in document and not field.nullable:
            missing = difflib.get_close_matches(name, [str(one) for one in document if one not in inputs], n=1)
            hint = f"; got {missing[0]!r}" if missing else ""
            raise FieldError(name, "missing_value", f"missing, expected {WORDS[field.kind]}{hint}", row=row)
    return document


def _table(rows: Sequence[Mapping[str, Any]], schema: Schema, notation: Notation | None, *, several: bool) -> pa.Table:
    columns = {}
    for name, field in schema.inputs.items():
        values = [_value(row.get(name), name, field, number if several else None) for number, row in enumerate(rows)]
        if are_plain(values, field):
            columns[name] = pa.array(values, type=type_of(field))
            continue
        raw = _array(name, values, field, notation)
        column = read_column(name, raw, field, Notation(), ())
        broken = [(int(fault.rows.argmax()), fault) for fault in column.faults if fault.rows.any()]
        if broken:
            number, fault = min(broken, key=lambda one: one[0])
            rule, words = fault.told(number)
            form = _form_of(name, field, notation)
            if rule == "not_a_time" and form != ISO:
                got = words.partition(", expected")[0]
                words = f"{got}, expected a time as {form}, e.g. {example_of(form)} or {example_of(ISO)}"
            raise FieldError(name, rule, words, row=number if several else None)
        columns[name] = column.values
    return pa.table(columns)


def _value(value: Any, name: str, field: Field, row: int | None) -> Any:
    """As Arrow takes it. Raises ``FieldError`` for JSON of another type than the field's."""
    if value is None:
        return None
    kind = field.kind
    if kind == "number":
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise FieldError(name, "not_a_number", f"got {_kind(value)}, expected a number", row=row)
        return as_float(value)
    if kind == "tensor":
        numbers = flat(value, field.shape or ())
        if numbers is None:
            shape = " x ".join(map(str, field.shape or ()))
            raise FieldError(name, "bad_shape", f"expected numbers as nested lists of {shape}", row=row)
        return numbers
    if isinstance(value, bytes) and kind in ("image", "audio"):
        return value  # a file that came as one: no JSON holds bytes
    if not isinstance(value, str):
        raise FieldError(name, "not_text", f"got {_kind(value)}, expected {WORDS[kind]}", row=row)
    if kind in ("image", "audio"):
        try:
            return base64.b64decode(value.partition(";base64,")[2] or value, validate=True)
        except (binascii.Error, ValueError) as error:
            raise FieldError(name, "not_base64", f"expected {WORDS[kind]}: {error}", row=row) from error
    return value if is_unicode(value) else _refuse_surrogates(name, row)


def is_unicode(value: str) -> bool:
    """Whether it has no half of a surrogate, by which a byte that is no UTF-8 is kept."""
    return value.isascii() or not any("\ud800" <= one <= "\udfff" for one in value)


def _refuse_surrogates(name: str, row: int | None) -> str:
    raise FieldError(name, "not_text", "holds half of a surrogate pair, expected Unicode text", row=row)


def _array(name: str, values: list[Any], field: Field, notation: Notation | None) -> pa.Array:
    if field.kind == "number":
        return pa.array(values, type=pa.float64())
    if field.kind == "tensor":
        return pa.array(values, type=pa.list_(pa.float64()))
    if field.kind in ("image", "audio"):
        return pa.array(values, type=pa.binary())
    text = pa.array(values, type=pa.string())
    if field.kind != "time":
        return text
    form = _form_of(name, field, notation)
    return text if form == ISO else _first_given(read_times(text, form), text)


def _form_of(name: str, field: Field, notation: Notation | None) -> str:
    """In which format a time is understood beside ISO 8601."""
    return field.format or (notation.times.get(name) if notation is not None else None) or ISO


def _first_given(read: pa.Array, text: pa.Array) -> pa.Array:
    """Moments as ISO where they were read, the text where not: it is read as ISO, or refused."""
    told = [one.as_py().isoformat() if one.is_valid else cell.as_py() for one, cell in zip(read, text, strict=True)]
    return pa.array(told, type=pa.string())


def _kind(value: Any) -> str:
    kinds = {bool: "a truth value", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}
    shown = f" {value[:SHOWN]!r}" if isinstance(value, str) else ""
    return "nothing" if value is None else f"{kinds.get(type(value), type(value).__name__)}{shown}"


def json_schema(schema: Schema) -> dict[str, Any]:
    """Of one example, as JSON Schema 2020-12 and OpenAPI 3.1 have it."""
    return {
        "type": "object",
        "properties": {name: _json_field(field) for name, field in schema.inputs.items()},
        "required": [name for name, field in schema.inputs.items() if not field.nullable],
        "additionalProperties": False,
    }


def _json_field(field: Field) -> dict[str, Any]:
    told: dict[str, Any]
    if field.kind == "number":
        told = {"type": "integer" if field.whole else "number"}
        told |= {} if field.minimum is None else {"minimum": field.minimum}
        told |= {} if field.maximum is None else {"maximum": field.maximum}
    elif field.kind == "tensor":
        told = {"type": "number"}
        for size in reversed(field.shape or ()):
            told = {"type": "array", "items": told, "minItems": size, "maxItems": size}
    else:
        told = {"type": "string"}
        told |= {"enum": list(field.values)} if field.values is not None else {}
        told |= {"contentEncoding": "base64"} if field.kind in ("image", "audio") else {}
    if field.nullable:
        told["type"] = [told["type"], "null"]
        if "enum" in told:
            told["enum"] = [*told["enum"], None]
    words = [field.description, f"in {field.unit}" if field.unit else "", WORDS[field.kind]]
    return told | {"description": "; ".join(word for word in words if word)}


def column_spec(schema: Schema) -> list[dict[str, Any]]:
    """The inputs as MLflow's signature has columns: name, type, required."""
    found: list[dict[str, Any]] = []
    for name, field in schema.inputs.items():
        kind: dict[str, Any] = {"type": MLFLOW.get(field.kind, "float")}
        for _ in field.shape or ():
            kind = {"type": "array", "items": kind}
        found.append({"name": name, **kind, "required": not field.nullable})
    return found


def as_json(value: Any, field: Field) -> Any:
    """A typed value as a client would send it: the inverse of `parse_example`."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dt.datetime):
        return iso(value)
    if field.kind == "tensor" and value is not None:
        return _nested(list(value), field.shape or ())
    return value


def _nested(flat: list[float], shape: Sequence[int]) -> Any:
    if len(shape) <= 1:
        return flat
    size = len(flat) // shape[0]
    return [_nested(flat[place * size : (place + 1) * size], shape[1:]) for place in range(shape[0])]
