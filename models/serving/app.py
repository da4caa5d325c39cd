"""The HTTP application: `/predict`, `/health`, `/ready`, `/metrics`, `/openapi.json`, `/docs`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import orjson
from mlratchet.models.serving.admission import RETRY_AFTER_S, Admission, Held
from mlratchet.models.serving.batcher import Batcher
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.docs_page import file_routes, page
from mlratchet.models.serving.door import PREDICT, Door, problem, raw_header
from mlratchet.models.serving.hosts import AllowedHosts
from mlratchet.models.serving.openapi import openapi
from mlratchet.models.serving.predictor import NoFiniteAnswerError, Predictor
from mlratchet.models.serving.reading.limits import check_count
from mlratchet.models.serving.reading.media import check_media_type, read_request
from mlratchet.models.serving.refusal import BadRequestError
from mlratchet.models.serving.schema import parse_request, rows_asked
from mlratchet.models.serving.slot import Slot
from mlratchet.models.serving.together import PreparedTogether
from mlratchet.models.serving.troubles import Troubles
from mlratchet.models.tensors.named import Inputs
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

VERSION_HEADER = "x-model-version"
SHORT_BYTES = 32_768  # a longer body, and every picture, is read on a thread: others are answered meanwhile


class ModelServer:
    """The handlers of one pipeline's server."""

    def __init__(self, name: str, slot: Slot, config: ServingConfig, hosts: AllowedHosts | None = None) -> None:
        self._name, self._slot, self._config = name, slot, config
        self._hosts = hosts or AllowedHosts()
        self._batcher = Batcher(max_batch_rows=config.max_batch_rows)
        self._room = Admission(max_requests=config.max_waiting_requests, max_bytes=config.max_waiting_bytes)
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="parse")
        self._together = PreparedTogether()
        self._registry = CollectorRegistry()
        labels = ["status", "version"]
        self._requests = Counter("ratchet_requests", "Requests to /predict", labels, registry=self._registry)
        self._rows = Counter("ratchet_rows", "Rows predicted", ["version"], registry=self._registry)
        self._seconds = Histogram("ratchet_request_seconds", "Time to answer /predict", registry=self._registry)
        self._version = Gauge("ratchet_model_version", "Version that is served", registry=self._registry)
        waiting = Gauge("ratchet_waiting_requests", "Requests that wait for their answer", registry=self._registry)
        waiting.set_function(lambda: self._room.requests)
        self._troubles = Troubles(self._registry)

    def app(self) -> Starlette:
        """The ASGI application."""

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            self._batcher.start()
            yield
            await self._batcher.stop()
            self._reader.shutdown()

        routes = [
            Route(PREDICT, self.predict, methods=["POST"]),
            Route("/health", self.health),
            Route("/ready", self.ready),
            Route("/metrics", self.metrics),
            Route("/openapi.json", self.description),
            Route("/docs", self.docs),
            *file_routes(),
        ]
        door = Middleware(
            Door,
            hosts=self._hosts,
            troubles=self._troubles,
            version=lambda: self._slot.version,
            paths=frozenset(route.path for route in routes),
            predict=self.predict,
        )
        return Starlette(
            routes=routes, middleware=[door], lifespan=lifespan, exception_handlers={HTTPException: not_here}
        )

    async def predict(self, request: Request) -> Response:
        """Answer one request; 4xx names the field."""
        began = time.perf_counter()
        predictor, version = self._slot.current, self._slot.version
        try:
            if predictor is None:
                words = "no champion is loaded yet; see /health"
                raise BadRequestError("model", words, 503, retry_after_s=RETRY_AFTER_S)
            content_type = raw_header(request.scope, b"content-type")
            check_media_type(content_type, predictor.signature)
            with self._room.arrival() as held:
                body = await self._body(request, held)
                held.wait()
                rows = await self._parsed(body, content_type, predictor, held)
                predictions = await self._batcher.predict(predictor, rows)
        except BadRequestError as error:
            return self._refused(request, error, version)
        except ClientDisconnect:
            self._count("499", version)  # as others count it; nobody reads the answer
            return Response(status_code=400)
        except NoFiniteAnswerError as error:
            return self._refused(request, BadRequestError(f"instances[{error.row}]", str(error)), version)
        except Exception:
            self._count("500", version)
            raise  # to the door, which answers, counts and logs it
        self._count("200", version)
        self._rows.labels(version).inc(len(rows))
        self._seconds.observe(time.perf_counter() - began)
        return _json({"predictions": predictions, "version": predictor.version}, 200, version)

    def _count(self, status: str, version: str) -> None:
        self._requests.labels(status, version).inc()

    def _refused(self, request: Request, error: BadRequestError, version: str) -> Response:
        self._count(str(error.status), version)
        headers = {VERSION_HEADER: version}
        if error.status == 503:
            self._troubles.unavailable(request.state.request_id, error.message)
            headers["retry-after"] = str(error.retry_after_s)
        if error.status in (408, 413):
            headers["connection"] = "close"  # the rest of the body is not waited for
        return problem(error.field, error.message, error.status, headers)

    async def _body(self, request: Request, held: Held) -> bytes:
        limit, seconds = self._config.max_request_bytes, self._config.read_seconds
        body = bytearray()
        try:
            async with asyncio.timeout(seconds):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > limit:
                        raise BadRequestError("body", f"larger than {limit} bytes", 413)
                    held.take(len(chunk))
        except TimeoutError as error:
            raise BadRequestError("body", f"did not arrive within {seconds:g} s", 408) from error
        return bytes(body)

    async def _parsed(self, body: bytes, content_type: str | None, predictor: Predictor, held: Held) -> Inputs:
        signature = predictor.signature
        here = predictor.preparer is None and signature.input.kind != "image"
        if len(body) <= SHORT_BYTES and here:
            asked = read_request(body, signature, content_type)
            if asked.rows is not None or not predictor.prepares_together:
                return rows_asked(asked, signature)
            with asked.told():
                check_count(asked.instances, signature)
                return await self._together.rows(asked.instances, signature)
        loop = asyncio.get_running_loop()
        reading = partial(parse_request, body, signature, predictor.preparer, content_type)
        rows = await loop.run_in_executor(self._reader, reading)
        held.take(rows.nbytes)
        return rows

    async def health(self, _: Request) -> Response:
        """Alive; what is served, why a newer champion could not be loaded, and what went wrong."""
        current = self._slot.current
        facts: dict[str, Any] = {
            "pipeline": self._name,
            "version": current.version if current else None,
            "generation": current.generation if current else None,
            "load_error": self._slot.load_error,
            "next_try_in_s": self._slot.next_try_in_s,
            "server_errors": self._troubles.facts(),
        }
        return _json(facts, 200, self._slot.version)

    async def ready(self, _: Request) -> Response:
        """200 once a champion is loaded."""
        current = self._slot.current
        if current is None:
            reason = {"ready": False, "reason": self._slot.load_error or "no champion yet"}
            return _json(reason, 503, "none", {"retry-after": str(RETRY_AFTER_S)})
        behind = {"behind": self._slot.load_error} if self._slot.load_error else {}
        return _json({"ready": True, "version": current.version, **behind}, 200, self._slot.version)

    async def metrics(self, _: Request) -> Response:
        """Prometheus text."""
        self._version.set(self._slot.current.version if self._slot.current else 0)
        return Response(generate_latest(self._registry), media_type="text/plain; version=0.0.4")

    async def description(self, _: Request) -> Response:
        """OpenAPI."""
        current = self._slot.current
        signature, schema = (current.signature, current.answer_schema) if current else (None, None)
        return _json(openapi(self._name, signature, self._config, schema), 200, "")

    async def docs(self, _: Request) -> Response:
        """The description for people."""
        return page(f"{self._name}, version {self._slot.version}")


async def not_here(_: Request, error: Exception) -> Response:
    """404 and 405, as every refusal is."""
    assert isinstance(error, HTTPException)
    return problem("path", error.detail, error.status_code, dict(error.headers or {}))


def _json(value: Any, status: int, version: str, more: dict[str, str] | None = None) -> Response:
    headers = {VERSION_HEADER: version} if version else {}
    return Response(orjson.dumps(value), status, headers | (more or {}), media_type="application/json")
