"""A body of JSON: ``{"instances": [...]}``, or one example that stands for itself."""

from __future__ import annotations

from typing import Any

import orjson
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.serving.reading.content import ALL, RequestContent
from mlratchet.models.serving.reading.given_once import check_given_once
from mlratchet.models.serving.reading.limits import WORDS
from mlratchet.models.serving.reading.opened import check_opened
from mlratchet.models.serving.reading.parts import client_fields
from mlratchet.models.serving.reading.unreadable import unreadable
from mlratchet.models.serving.refusal import BadRequestError

MOST_OPENED = 900  # lists and objects: the parser reads 1024 in one another, some of them around what a client wrote


def read_json(body: bytes, signature: Signature) -> RequestContent:
    """Raises ``BadRequestError`` for a body that is neither."""
    check_opened(body, signature)
    document = json_of(body)
    if isinstance(document, dict):
        if is_one_example(document, signature):
            return RequestContent(instances=[document], written=_kept(b"[%b]" % body), alone=True)
        return RequestContent(instances=_instances_of(document), written=_kept(body))
    if isinstance(document, list) and document and takes_lists(signature):
        return RequestContent(instances=[document], written=_kept(b"[%b]" % body), alone=True)
    raise BadRequestError("body", f"expected an object with the field {ALL}, or one example")


def _kept(written: bytes) -> bytes | None:
    """None where it may be too deep to be read inside of other JSON, as a key that comes twice can hide."""
    return written if written.count(b"[") + written.count(b"{") <= MOST_OPENED else None


def is_one_example(document: dict[str, Any], signature: Signature) -> bool:
    """Whether an object is an example, and no list of them: it holds a field that an example has."""
    if len(document) == 1 and isinstance(document.get(ALL), list):
        return False
    fields = client_fields(signature)
    return any(name in fields for name in document)


def takes_lists(signature: Signature) -> bool:
    """Whether an instance may be a list, of numbers or of lists."""
    return signature.input.example is None and not signature.input.tensors


def _instances_of(document: dict[str, Any]) -> Any:
    unknown = sorted(set(document) - {ALL})
    if unknown:
        raise BadRequestError(unknown[0][:WORDS], f"unknown field; expected {ALL} alone, or one example")
    return document.get(ALL)


def json_of(body: bytes) -> Any:
    """What it says. Raises ``BadRequestError`` for what is no JSON, holds a number that is not finite, or gives a field
    twice."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise unreadable(exc) from exc
    check_given_once(body, document, ALL)
    return document
