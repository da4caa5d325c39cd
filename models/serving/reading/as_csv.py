"""A body of CSV (RFC 4180, UTF-8): a header with the names of fields, and a row per instance."""

from __future__ import annotations

import csv
import io
from typing import Any

from mlratchet.models.artifact.signature import Signature
from mlratchet.models.nearest import nearest_hint
from mlratchet.models.serving.reading.content import RequestContent
from mlratchet.models.serving.reading.limits import WORDS, check_number, most_instances
from mlratchet.models.serving.reading.parts import ClientField, client_fields
from mlratchet.models.serving.reading.written_numbers import written_number
from mlratchet.models.serving.refusal import BadRequestError


def read_csv(body: bytes, signature: Signature) -> RequestContent:
    """An empty cell is a field that is not given. Raises ``BadRequestError`` naming row and column."""
    text = text_of(body, "body")
    if "\0" in text:
        raise BadRequestError("body", "holds a NUL character, expected CSV", 400)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    fields, most = client_fields(signature), most_instances(signature)
    names: list[str] | None = None
    instances: list[dict[str, Any]] = []
    try:
        for row in reader:
            if names is None:
                names = header(row, fields)
            elif row:
                if len(instances) == most:
                    raise BadRequestError("instances", f"got more, expected at most {most}")
                instances.append(_instance(row, names, fields, f"instances[{len(instances)}]"))
    except csv.Error as error:
        raise BadRequestError("body", f"line {reader.line_num}: not CSV: {error}"[:WORDS], 400) from error
    check_number(len(instances), signature)
    return RequestContent(instances=instances)


def text_of(data: bytes, field: str) -> str:
    """Raises ``BadRequestError`` for what is not UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRequestError(field, f"not UTF-8 at byte {error.start}", 400) from error


def header(row: list[str], fields: dict[str, ClientField]) -> list[str]:
    """The names of the columns. Raises ``BadRequestError`` for one that is unknown or there twice."""
    names = [cell.strip() for cell in row]
    for name in names:
        if name not in fields:
            raise BadRequestError(f"instances.{name}"[:WORDS], f"unknown column; {nearest_hint(name, fields)}"[:WORDS])
        if names.count(name) > 1:
            raise BadRequestError(f"instances.{name}"[:WORDS], "the header names this column twice")
    return names


def _instance(row: list[str], names: list[str], fields: dict[str, ClientField], where: str) -> dict[str, Any]:
    if len(row) != len(names):
        raise BadRequestError(where, f"got {len(row)} cells, expected {len(names)}")
    return {
        name: value_of(cell, fields[name], f"{where}.{name}")
        for name, cell in zip(names, row, strict=True)
        if is_given(cell, fields[name])
    }


def is_given(cell: str, field: ClientField) -> bool:
    """Whether a cell, or the text of a form, holds a value."""
    told = cell.strip()
    return bool(told) and told not in field.missing


def value_of(cell: str, field: ClientField, where: str) -> Any:
    """As JSON holds it. Raises ``BadRequestError``."""
    told = cell.strip()
    if field.kind != "number":
        return cell if field.kind == "text" else told
    try:
        return written_number(told, decimal=field.decimal)
    except ValueError as error:
        raise BadRequestError(where[:WORDS], str(error)) from error
