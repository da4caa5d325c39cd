"""`/feedback`: what turned out to be true of answers that were given, told by whom the operator has declared."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, Protocol

import orjson
from mlratchet.models.serving.admission import RETRY_AFTER_S
from mlratchet.models.serving.asked import ClientGoneError
from mlratchet.models.serving.body import Body
from mlratchet.models.serving.reading.given_once import check_given_once
from mlratchet.models.serving.reading.limits import MAX_INSTANCES
from mlratchet.models.serving.reading.opened import AROUND, refuse_opened
from mlratchet.models.serving.refusal import BadRequestError
from mlratchet.models.serving.reply import Reply, json_reply, problem
from starlette.requests import Request

FEEDBACK = "/feedback"
SCOPE = "feedback"  # of a token
MOST_BYTES = 1_000_000  # of a body
LABEL_CHARACTERS = 1000
REQUEST_ID = re.compile(r"[0-9a-f]{32}")
FIELDS = ("request_id", "row", "label")


class LabelSink(Protocol):
    """Where labels go."""

    def offer_labels(self, labels: list[list[Any]]) -> bool:
        """Rows of the feedback's log, all or none; False where there is no room. Never waits."""
        ...


class Feedback:
    """Of one pipeline."""

    def __init__(self, sink: LabelSink, *, read_s: float, clock: Callable[[], float] = time.time) -> None:
        """`read_s`: seconds that a request may take to arrive."""
        self._sink, self._clock = sink, clock
        self._body = Body(max_bytes=MOST_BYTES, within_s=read_s)

    async def __call__(self, request: Request) -> Reply:
        """202 once the labels are on their way to the log: nothing is said about whether the requests are known."""
        writer: str | None = request.scope.get("state", {}).get("token")  # as the application's door found it
        if writer is None:
            words = f"labels count from declared writers alone: bring a token of scope {SCOPE}"
            return problem("authorization", words, 401, [(b"www-authenticate", b"Bearer")])
        try:
            body = await self._body.read(request.receive)
        except BadRequestError as error:  # the rest of the body is not waited for
            return problem(error.field, error.message, error.status, [(b"connection", b"close")])
        except ClientGoneError:
            return Reply(400, b"")  # nobody reads it
        try:
            labels = labels_of(body)
        except LabelError as error:
            return problem(error.field, str(error), 422)
        now_s = self._clock()
        if not self._sink.offer_labels([[*label, now_s, writer] for label in labels]):
            words = "no room for labels; try again later"
            return problem("server", words, 503, [(b"retry-after", b"%d" % RETRY_AFTER_S)])
        return json_reply({"accepted": len(labels)}, 202)


class LabelError(ValueError):
    """What cannot be a label; `field` is at fault."""

    def __init__(self, field: str, words: str) -> None:
        super().__init__(words)
        self.field = field


def labels_of(body: bytes) -> list[tuple[str, int, str]]:
    """Request id, row and label of ``{"labels": [{"request_id", "row", "label"}, ...]}``, or of one such object.

    A label is a number, a truth value or text. Raises ``LabelError``.
    """
    try:
        refuse_opened(body, AROUND + MAX_INSTANCES, f"{MAX_INSTANCES} labels")
        document = orjson.loads(body)
        check_given_once(body, document, "labels")
    except orjson.JSONDecodeError as error:
        raise LabelError("body", f"not JSON: {error}"[:200]) from error
    except BadRequestError as error:
        raise LabelError(error.field, error.message) from error
    if isinstance(document, dict) and "labels" not in document:
        document = {"labels": [document]}
    if not isinstance(document, dict) or set(document) != {"labels"} or not isinstance(document["labels"], list):
        raise LabelError("body", "expected an object with the field labels, or with request_id, row and label")
    if not 0 < len(document["labels"]) <= MAX_INSTANCES:
        raise LabelError("labels", f"got {len(document['labels'])}, expected 1 to {MAX_INSTANCES}")
    return [_label(one, f"labels[{number}]") for number, one in enumerate(document["labels"])]


def _label(one: Any, place: str) -> tuple[str, int, str]:
    if not isinstance(one, dict):
        raise LabelError(place, f"expected an object with {', '.join(FIELDS)}")
    unknown = sorted(set(one) - set(FIELDS))
    if unknown:
        raise LabelError(f"{place}.{unknown[0]}"[:200], f"unknown field; expected {', '.join(FIELDS)}")
    request_id, row, label = one.get("request_id"), one.get("row", 0), one.get("label")
    if not isinstance(request_id, str) or not REQUEST_ID.fullmatch(request_id):
        raise LabelError(f"{place}.request_id", "expected the id that the answer had in x-request-id: 32 hex digits")
    if isinstance(row, bool) or not isinstance(row, int) or not 0 <= row < MAX_INSTANCES:
        raise LabelError(f"{place}.row", f"expected the number of the instance, 0 to {MAX_INSTANCES - 1}")
    if not isinstance(label, str | int | float | bool) or label == "":
        raise LabelError(f"{place}.label", "expected a number, a truth value or text")
    text = label if isinstance(label, str) else orjson.dumps(label).decode()
    if len(text) > LABEL_CHARACTERS:
        raise LabelError(f"{place}.label", f"got {len(text)} characters, expected at most {LABEL_CHARACTERS}")
    return request_id, row, text
