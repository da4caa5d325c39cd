"""A form, multipart/form-data (RFC 7578): a part per field, files as they are, the others as text. One example."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mlratchet.models.artifact.signature import Signature
from mlratchet.models.nearest import nearest_hint
from mlratchet.models.serving.reading.as_csv import is_given, text_of, value_of
from mlratchet.models.serving.reading.as_json import json_of
from mlratchet.models.serving.reading.as_npy import array_of
from mlratchet.models.serving.reading.content import RequestContent
from mlratchet.models.serving.reading.limits import WORDS
from mlratchet.models.serving.reading.opened import check_opened
from mlratchet.models.serving.reading.parts import FILE_KINDS, ClientField, client_fields
from mlratchet.models.serving.refusal import BadRequestError
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

MOST_BOUNDARY = 70  # characters, RFC 2046
NPY = "application/x-npy"


@dataclass(eq=False)
class FormPart:
    """One part as it comes."""

    headers: dict[str, bytes] = field(default_factory=dict)
    data: bytearray = field(default_factory=bytearray)

    @property
    def name(self) -> str:
        """Of the field; empty where it has none."""
        _, options = parse_options_header(self.headers.get("content-disposition", b""))
        return options.get(b"name", b"").decode("utf-8", "replace")

    @property
    def media(self) -> str:
        """What it says that it is."""
        return parse_options_header(self.headers.get("content-type", b""))[0].decode("latin-1").lower()


def read_form(body: bytes, content_type: str, signature: Signature) -> RequestContent:
    """Raises ``BadRequestError`` naming the field."""
    fields = client_fields(signature)
    example: dict[str, Any] = {}
    for part in parts_of(body, content_type, most=len(fields)):
        known = fields.get(part.name)
        if known is None:
            hint = nearest_hint(part.name, fields)
            raise BadRequestError((part.name or "body")[:WORDS], f"unknown field; {hint}"[:WORDS])
        if known.name in example:
            raise BadRequestError(known.name[:WORDS], "sent twice")
        value = _value(part, known, signature)
        if value is not None:
            example[known.name] = value
    return RequestContent(instances=[example], alone=True)


def _value(part: FormPart, known: ClientField, signature: Signature) -> Any:
    """None: not given."""
    data, name = bytes(part.data), known.name[:WORDS]
    if known.kind in FILE_KINDS:
        return data or None  # a form of a browser sends an empty file where none was chosen
    if known.kind == "tensor":
        if part.media == NPY:
            return array_of(data, name).tolist()
        return _nested(data, name, signature) if data else None
    text = text_of(data, name)
    return value_of(text, known, name) if is_given(text, known) else None


def _nested(data: bytes, name: str, signature: Signature) -> Any:
    try:
        check_opened(data, signature)
        return json_of(data)
    except BadRequestError as error:
        error.rename(name if error.field == "body" else f"{name}{error.field}"[:WORDS])
        raise


def parts_of(body: bytes, content_type: str, *, most: int) -> list[FormPart]:
    """Every part, at most `most`. Raises ``BadRequestError`` for a body that is no whole form."""
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= MOST_BOUNDARY:
        raise BadRequestError("content-type", f"expected a boundary of 1 to {MOST_BOUNDARY} characters", 400)
    collected = _Collected(most)
    try:
        parser = MultipartParser(boundary, collected.callbacks())  # type: ignore[arg-type]  # a TypedDict of the same
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise BadRequestError("body", f"not a form: {error}"[:WORDS], 400) from error
    if not collected.whole:
        raise BadRequestError("body", "the form has no end: its last boundary is missing", 400)
    return collected.parts


class _Collected:
    """What the parser calls back with."""

    def __init__(self, most: int) -> None:
        self.parts: list[FormPart] = []
        self.whole = False
        self._most = most
        self._name, self._told = b"", b""

    def callbacks(self) -> dict[str, Any]:
        return {
            "on_part_begin": self._begin,
            "on_part_data": lambda data, start, end: self.parts[-1].data.extend(data[start:end]),
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        if len(self.parts) > self._most:  # the one after shows that a name is unknown or there twice
            raise BadRequestError("body", f"more than {self._most} fields")
        self.parts.append(FormPart())

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._told += data[start:end]

    def _header_end(self) -> None:
        self.parts[-1].headers[self._name.decode("latin-1").lower()] = self._told
        self._name, self._told = b"", b""

    def _end(self) -> None:
        self.whole = True
