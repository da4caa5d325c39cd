"""How many lists and objects a body of JSON may open: the parser makes each of them before anybody can refuse one, and
nobody else of the process is answered meanwhile.

8 MB of `[],[],` are 2.7 million lists: 0.4 s of the parser and 180 MB. What a model's examples can open is known from
what it takes.
"""

from __future__ import annotations

import math

from mlratchet.models.artifact.signature import Signature
from mlratchet.models.schema.fields import Schema
from mlratchet.models.serving.reading.limits import MAX_ROW_BYTES, SHORT_BYTES, most_instances
from mlratchet.models.serving.reading.outside_texts import outside_texts
from mlratchet.models.serving.refusal import BadRequestError

SPARE = 20_000  # more than any request of the model has: what is only somewhat wrong is told by its field
AROUND = 2  # the document, and its list of instances
OPENING = b"[{"


def check_opened(body: bytes, signature: Signature) -> None:
    """Raises ``BadRequestError`` for far more lists and objects than a request of this model can have. Of a short body
    nothing is counted."""
    if len(body) > SHORT_BYTES:
        refuse_opened(body, most_opened(signature), f"{most_instances(signature)} instances")


def refuse_opened(body: bytes, most: int, of: str) -> None:
    """Raises ``BadRequestError`` for more lists and objects than `most`, with some to spare. `of`: what may hold so
    many."""
    if sum(body.count(one) for one in OPENING) <= most + SPARE:  # those in texts, too
        return
    found = outside_texts(body, OPENING)
    if found > most + SPARE:
        raise BadRequestError("body", f"holds {found} lists and objects; expected at most {most}, in {of}")


def most_opened(signature: Signature) -> int:
    """Of a request that this model may answer."""
    spec = signature.input
    if spec.example is not None:
        fields = Schema.model_validate_json(spec.example.schema).inputs.values()
        each, ragged = sum(lists_of(one.shape) for one in fields if one.shape is not None), 0
    else:
        each = sum(lists_of(one.shape) for one in spec.specs if not one.ragged)
        each += sum(one.ragged for one in spec.specs)
        steps = [lists_of(one.shape) * (MAX_ROW_BYTES // one.row_bytes) for one in spec.specs if one.ragged]
        ragged = max(steps, default=0) * len(steps)
    return AROUND + most_instances(signature) * (1 + each) + ragged


def lists_of(shape: tuple[int, ...]) -> int:
    """That a tensor is written with: `(2, 3)` with one around two others."""
    return sum(math.prod(shape[:depth]) for depth in range(len(shape)))
