"""A body that is a picture's or a sound's file: the one field that it can be meant for."""

from __future__ import annotations

from mlratchet.models.artifact.signature import Signature
from mlratchet.models.schema.fields import Kind
from mlratchet.models.serving.reading.content import RequestContent
from mlratchet.models.serving.reading.parts import client_fields, field_of_a_file
from mlratchet.models.serving.refusal import BadRequestError

PICTURES = ("image/png", "image/jpeg", "image/gif", "image/bmp", "image/webp", "image/tiff", "image/x-portable-pixmap")
SOUNDS = ("audio/wav", "audio/flac", "audio/ogg")
ALSO = {"image/jpg": "image/jpeg", "audio/x-wav": "audio/wav", "audio/wave": "audio/wav", "audio/x-flac": "audio/flac",
        "audio/opus": "audio/ogg"}  # fmt: skip
KIND_OF: dict[str, Kind] = {}
KIND_OF.update(dict.fromkeys(PICTURES, "image"))
KIND_OF.update(dict.fromkeys(SOUNDS, "audio"))


def read_file(body: bytes, kind: Kind, signature: Signature) -> RequestContent:
    """One example. What is in the file is told by its bytes, whatever its type says. Raises ``BadRequestError``."""
    field = field_of_a_file(list(client_fields(signature).values()), kind)
    assert field is not None, "who asks knows that it takes one"
    if not body:
        raise BadRequestError(field.name, "the file is empty")
    return RequestContent(instances=[{field.name: body}], alone=True)
