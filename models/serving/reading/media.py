"""In which media types a model's examples can be sent, and which reader each has."""

from __future__ import annotations

from mlratchet.models.artifact.signature import Signature
from mlratchet.models.serving.reading.as_arrow import read_arrow
from mlratchet.models.serving.reading.as_csv import read_csv
from mlratchet.models.serving.reading.as_file import ALSO, KIND_OF, PICTURES, SOUNDS, read_file
from mlratchet.models.serving.reading.as_form import NPY, read_form
from mlratchet.models.serving.reading.as_json import read_json
from mlratchet.models.serving.reading.as_npy import read_npy, shape_of_one
from mlratchet.models.serving.reading.content import RequestContent
from mlratchet.models.serving.reading.parts import CELL_KINDS, client_fields, field_of_a_file
from mlratchet.models.serving.refusal import BadRequestError

JSON, CSV, FORM = "application/json", "text/csv", "multipart/form-data"
ARROW = "application/vnd.apache.arrow.stream"


def media_types(signature: Signature) -> tuple[str, ...]:
    """All in which an example of this model can be told, JSON first."""
    fields = list(client_fields(signature).values())
    named = bool(fields)
    return (
        JSON,
        *((CSV,) if named and all(one.kind in CELL_KINDS for one in fields) else ()),
        *((FORM,) if named else ()),
        *(PICTURES if field_of_a_file(fields, "image") else ()),
        *(SOUNDS if field_of_a_file(fields, "audio") else ()),
        *((NPY,) if shape_of_one(signature) is not None else ()),
        *((ARROW,) if named else ()),
    )


def media_type_of(content_type: str | None) -> str:
    """Without parameters; JSON where a client says nothing."""
    told = (content_type or JSON).split(";", 1)[0].strip().lower()
    return ALSO.get(told, told)


def check_media_type(content_type: str | None, signature: Signature) -> str:
    """The type. Raises ``BadRequestError`` (415) for one in which this model's examples cannot be told."""
    told = media_type_of(content_type)
    if told == JSON:
        return told
    taken = media_types(signature)
    if told not in taken:
        raise BadRequestError("content-type", f"got {told[:100]!r}, expected {' or '.join(taken)}", 415)
    return told


def refuse_packed(content_encoding: str | None) -> None:
    """Raises ``BadRequestError`` (415) for a body that is packed: what it unpacks to nobody could bound beforehand."""
    if content_encoding is not None and content_encoding.strip().lower() not in ("", "identity"):
        raise BadRequestError("content-encoding", f"got {content_encoding[:100]!r}, expected a body as it is", 415)


def read_request(body: bytes, signature: Signature, content_type: str | None = None) -> RequestContent:
    """What a request asks about. `content_type`: its header as it came. Raises ``BadRequestError``."""
    told = check_media_type(content_type, signature)
    if told == JSON:
        return read_json(body, signature)
    if told == FORM:
        return read_form(body, content_type or "", signature)
    if told in KIND_OF:
        return read_file(body, KIND_OF[told], signature)
    return READERS[told](body, signature)


READERS = {CSV: read_csv, NPY: read_npy, ARROW: read_arrow}
