"""The road of one request: read its body, route it, parse and prepare its rows, ask the model, answer, observe."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from mlratchet.models.artifact.signature import Signature
from mlratchet.models.serving.admission import RETRY_AFTER_S, Admission, Held
from mlratchet.models.serving.aside import aside
from mlratchet.models.serving.asked import Asked, ClientGoneError
from mlratchet.models.serving.batcher import Batcher
from mlratchet.models.serving.body import Body
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.deadline import HEADER, NEVER, timeout_s, within
from mlratchet.models.serving.direct import DirectRoad
from mlratchet.models.serving.metrics import PipelineMetrics
from mlratchet.models.serving.observing import Answered, Observer
from mlratchet.models.serving.predictor import Answers, NoFiniteAnswerError, Predictor
from mlratchet.models.serving.reading.content import RequestContent
from mlratchet.models.serving.reading.limits import SHORT_BYTES, check_count
from mlratchet.models.serving.reading.media import check_media_type, read_request, refuse_packed
from mlratchet.models.serving.refusal import BadRequestError
from mlratchet.models.serving.reply import Reply, json_reply, problem
from mlratchet.models.serving.routing import Router, Variant
from mlratchet.models.serving.schema import rows_of_content
from mlratchet.models.serving.together import PreparedTogether
from mlratchet.models.serving.troubles import Troubles
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.workloads.examples import ExamplePreparer

logger = logging.getLogger(__name__)
TIMEOUT = HEADER.encode()
VERSION_HEADER = "x-model-version"
USUAL_TYPES = (None, "application/json")  # of a request that is answered at once
CLIENT_GONE = 499  # as others count it; nobody reads the answer


class Answering:
    """Of one pipeline: what waits, fails or takes long here is no other pipeline's."""

    def __init__(
        self,
        name: str,
        config: ServingConfig,
        *,
        router: Router,
        metrics: PipelineMetrics,
        troubles: Troubles,
        observer: Observer | None = None,
    ) -> None:
        self.threads = config.threads  # intra-op, of whoever asks the model
        self._name, self._router, self._metrics, self._troubles = name, router, metrics, troubles
        self._observer = observer
        self._body = Body(max_bytes=config.max_request_bytes, within_s=config.read_seconds)
        self.room = Admission(max_requests=config.max_waiting_requests, max_bytes=config.max_waiting_bytes)
        self._batcher = Batcher(
            max_batch_rows=config.max_batch_rows, threads=config.threads, computed=metrics.batch,
            settled=lambda rows, answers: self._direct.settled(rows, answers),
        )  # fmt: skip
        self._direct = DirectRoad(
            name, room=self.room, batcher=self._batcher, replied=self._direct_reply, observe=self.observe,
            observer=observer,
        )  # fmt: skip
        self._reader = ThreadPoolExecutor(1, thread_name_prefix=f"read-{name}")
        self._together = PreparedTogether()

    async def close(self) -> None:
        """Answer what is under way, then end."""
        await self._batcher.stop()
        self._reader.shutdown(wait=False)  # what it is at, if anything, nobody waits for any more

    async def answer(self, asked: Asked) -> Reply:
        """The answer to one request; 4xx names the field."""
        reply = await self.replied(asked, self._answer)
        self._metrics.request(str(asked.status), asked.version, asked.variant_name)
        return reply

    async def replied(self, asked: Asked, road: Callable[[Asked], Awaitable[Reply]]) -> Reply:
        """What `road` gives, or the answer to whatever it raises."""
        try:
            return await road(asked)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer and the log a line
            return self._reply_to(asked, error)

    def _reply_to(self, asked: Asked, error: BaseException) -> Reply:
        """The answer to what was raised."""
        if isinstance(error, NoFiniteAnswerError):
            error = BadRequestError(f"instances[{error.row}]", str(error))
        if isinstance(error, BadRequestError):
            return self._refused(asked, error)
        if isinstance(error, ClientGoneError):
            asked.status, asked.error = CLIENT_GONE, "the client is gone"
            return Reply(400, b"")
        return self._failed(asked, error if isinstance(error, Exception) else RuntimeError(str(error)))

    def answer_at_once(
        self, asked: Asked, body: bytes, is_gone: Callable[[], bool], send: Callable[[Reply], None]
    ) -> bool:
        """Take a request over whose body is here, where nothing keeps it from the model: what `answer` returns is told
        to `send` later, and it is observed before. False where it has to wait for something, may be refused, or is
        large: nothing has happened then, and `answer` says what is to be said."""
        content = self._read_at_once(asked, body)
        if content is None:
            return False
        self._direct.take(asked, content, len(body), is_gone, send)
        return True

    def _direct_reply(self, asked: Asked, found: Answers | BaseException) -> Reply:
        """The answer to a request on the direct road, counted."""
        try:
            reply = self._reply_to(asked, found) if isinstance(found, BaseException) else self._said(asked, found)
        except Exception as error:  # noqa: BLE001 - as in `replied`
            reply = self._reply_to(asked, error)
        self._metrics.request(str(asked.status), asked.version, asked.variant_name)
        return reply

    def _read_at_once(self, asked: Asked, body: bytes) -> RequestContent | None:
        """What it asks about, with its rows in `asked` where they are not prepared together with others; None where it
        is not to be taken over."""
        variant = self._router.route(asked.request_key)
        if variant is None or TIMEOUT in asked.headers or b"content-encoding" in asked.headers:
            return None
        predictor = variant.predictor
        signature = predictor.signature
        elsewhere = predictor.preparer is not None or signature.input.kind == "image"
        if elsewhere or len(body) > min(SHORT_BYTES, self._body.max_bytes) or not self.room.has(len(body)):
            return None
        content_type = asked.header(b"content-type")
        if content_type not in USUAL_TYPES:
            return None
        try:
            content = read_request(body, signature, content_type)
            check_count(content.instances, signature)
            rows = None if predictor.prepares_together else rows_of_content(content, signature)
        except Exception:  # noqa: BLE001 - whatever it is, the other road tells it
            return None
        asked.variant, asked.instances, asked.written, asked.rows = variant, content.instances, content.written, rows
        return content

    async def _answer(self, asked: Asked) -> Reply:
        """The road itself. Raises what stands above."""
        asked.variant = self.routed(asked)  # for whom nobody can answer is refused before its body is read
        seconds = timeout_s(asked.header(TIMEOUT))
        with self.room.arrival() as held:
            if seconds is None:
                answers = await self._answered(asked, held, NEVER)
            else:
                async with within(seconds, time.perf_counter() - asked.began) as until_s:
                    answers = await self._answered(asked, held, until_s)
        return self._said(asked, answers)

    def _said(self, asked: Asked, answers: Answers) -> Reply:
        assert asked.variant is not None, "it was routed"
        asked.answers, asked.status = answers, 200
        seconds_spent = time.perf_counter() - asked.began
        self._metrics.answered(answers.predictions, asked.version, asked.variant_name, seconds_spent)
        answer = {"predictions": answers.predictions, "version": asked.variant.predictor.version}
        reply = json_reply(answer, 200, [version_header(asked.version)])
        asked.said = reply.body
        return reply

    async def _answered(self, asked: Asked, held: Held, until_s: float) -> Answers:
        """What the model says, as long as somebody waits for it."""
        predictor = await self.read(asked, held)
        assert asked.rows is not None, "they were read"
        return await self._batcher.predict(predictor, asked.rows, until_s=until_s, is_gone=asked.is_gone)

    async def read(self, asked: Asked, held: Held) -> Predictor:
        """Fill in the rows; returns who answers them."""
        assert asked.variant is not None, "it was routed"
        content_type = asked.header(b"content-type")
        check_media_type(content_type, asked.variant.predictor.signature)
        refuse_packed(asked.header(b"content-encoding"))
        body = await self._body.read(asked.receive, held.take)
        held.wait()
        asked.variant = self.routed(asked)  # a body may have taken long: who serves now answers
        asked.rows = await self._prepared(asked, body, content_type, asked.variant.predictor, held)
        return asked.variant.predictor

    def routed(self, asked: Asked) -> Variant:
        """Who answers. Raises ``BadRequestError`` (503) while nobody does."""
        variant = self._router.route(asked.request_key)
        if variant is None:
            words = "no champion is loaded yet; see /health"
            raise BadRequestError("model", words, 503, retry_after_s=RETRY_AFTER_S)
        return variant

    async def _prepared(
        self, asked: Asked, body: bytes, content_type: str | None, predictor: Predictor, held: Held
    ) -> Inputs:
        """The rows, as the version that answers prepares them."""
        signature = predictor.signature
        here = predictor.preparer is None and signature.input.kind != "image"
        if len(body) <= SHORT_BYTES and here:
            content = read_request(body, signature, content_type)
            asked.instances, asked.written = content.instances, content.written
            if content.rows is not None or not predictor.prepares_together:
                return rows_of_content(content, signature)
            with content.told():
                check_count(content.instances, signature)
                return await self._together.rows(content.instances, signature)
        work = partial(read_aside, body, content_type, signature, predictor.preparer)
        asked.instances, rows = await aside(self._reader, work, asked.is_gone)
        held.take(rows.nbytes)
        return rows

    def _refused(self, asked: Asked, error: BadRequestError) -> Reply:
        asked.status, asked.error = error.status, str(error)
        headers = [version_header(asked.version)]
        if error.status == 503:
            self._troubles.unavailable(asked.request_id, error.message)
            headers.append((b"retry-after", b"%d" % (error.retry_after_s or RETRY_AFTER_S)))
        if error.status in (408, 413):
            headers.append((b"connection", b"close"))  # the rest of the body is not waited for
        return problem(error.field, error.message, error.status, headers)

    def _failed(self, asked: Asked, error: Exception) -> Reply:
        asked.status, asked.error = 500, type(error).__name__
        self._troubles.failed(asked.request_id, asked.path, asked.version, error)
        words = "failed to answer; its log says why under this id"
        return problem("server", words, 500, [version_header(asked.version)], request_id=asked.request_id)

    def observe(self, asked: Asked) -> None:
        """Tell who keeps it; called once the answer is made. Never raises."""
        if self._observer is None:
            return
        try:
            self._observer.answered(self._told(asked))
        except Exception:
            logger.exception("%s: request %s is kept by nobody", self._name, asked.request_id)

    def _told(self, asked: Asked) -> Answered:
        predictor = asked.variant.predictor if asked.variant is not None else None
        instances: Any = asked.instances
        return Answered(
            request_id=asked.request_id,
            received_s=asked.received_s,
            latency_ms=(time.perf_counter() - asked.began) * 1e3,
            pipeline=self._name,
            version=predictor.version if predictor is not None else None,
            generation=predictor.generation if predictor is not None else None,
            variant=asked.variant.name if asked.variant is not None else None,
            status=asked.status,
            error=asked.error,
            client_key=asked.client_key,
            instances=instances if isinstance(instances, list) else None,
            written=asked.written,
            rows=asked.rows,
            output=asked.answers.output if asked.answers is not None else None,
            predictions=asked.answers.predictions if asked.answers is not None else None,
            said=asked.said,
            replayed=asked.replayed,
        )


def read_aside(
    body: bytes, content_type: str | None, signature: Signature, preparer: ExamplePreparer | None
) -> tuple[Any, Inputs]:
    """What a long body asks about, and its rows, on another thread."""
    content = read_request(body, signature, content_type)
    return content.instances, rows_of_content(content, signature, preparer=preparer)


def version_header(version: str) -> tuple[bytes, bytes]:
    """Who answers."""
    return VERSION_HEADER.encode(), version.encode()
