"""The HTTP application: `/predict`, `/health`, `/ready`, `/metrics`, `/openapi.json`."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from mlratchet.models.serving.batcher import Batcher
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.serving.schema import BadRequestError, openapi, parse_request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

VERSION_HEADER = "x-model-version"


class Slot:
    """What is served now. `swap` is one assignment: no request sees half of it."""

    def __init__(self) -> None:
        self.current: Predictor | None = None
        self.load_error: str = ""

    def swap(self, predictor: Predictor) -> None:
        """Requests parsed from now on are answered by `predictor`."""
        self.current = predictor
        self.load_error = ""


class ModelServer:
    """The handlers of one pipeline's server."""

    def __init__(self, name: str, slot: Slot, config: ServingConfig) -> None:
        self._name, self._slot, self._config = name, slot, config
        self._batcher = Batcher(max_batch_rows=config.max_batch_rows)
        self._registry = CollectorRegistry()
        labels = ["status", "version"]
        self._requests = Counter("ratchet_requests", "Requests to /predict", labels, registry=self._registry)
        self._rows = Counter("ratchet_rows", "Rows predicted", ["version"], registry=self._registry)
        self._seconds = Histogram("ratchet_request_seconds", "Time to answer /predict", registry=self._registry)
        self._version = Gauge("ratchet_model_version", "Version that is served", registry=self._registry)

    def app(self) -> Starlette:
        """The ASGI application."""

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            self._batcher.start()
            yield
            await self._batcher.stop()

        return Starlette(
            routes=[
                Route("/predict", self.predict, methods=["POST"]),
                Route("/health", self.health),
                Route("/ready", self.ready),
                Route("/metrics", self.metrics),
                Route("/openapi.json", self.description),
                Route("/docs", self.docs),
            ],
            lifespan=lifespan,
        )

    async def predict(self, request: Request) -> Response:
        """Answer one request; 4xx names the field."""
        began = time.perf_counter()
        predictor = self._slot.current
        version = str(predictor.version) if predictor else "none"
        try:
            if predictor is None:
                raise BadRequestError("model", "no champion is loaded yet; see /health", 503)
            rows = parse_request(await self._body(request), predictor.signature)
            predictions = await self._batcher.predict(predictor, rows)
        except BadRequestError as error:
            self._requests.labels(str(error.status), version).inc()
            return _json({"field": error.field, "error": error.message}, error.status, version)
        except ValueError as error:
            self._requests.labels("422", version).inc()
            return _json({"field": "instances", "error": str(error)}, 422, version)
        self._requests.labels("200", version).inc()
        self._rows.labels(version).inc(len(rows))
        self._seconds.observe(time.perf_counter() - began)
        return _json({"predictions": predictions, "version": predictor.version}, 200, version)

    async def _body(self, request: Request) -> bytes:
        limit = self._config.max_request_bytes
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise BadRequestError("body", f"larger than {limit} bytes", 413)
        return bytes(body)

    async def health(self, _: Request) -> Response:
        """Alive; what is served, and why a newer champion could not be loaded."""
        current = self._slot.current
        facts: dict[str, Any] = {
            "pipeline": self._name,
            "version": current.version if current else None,
            "generation": current.generation if current else None,
            "load_error": self._slot.load_error,
        }
        return _json(facts, 200, str(current.version) if current else "none")

    async def ready(self, _: Request) -> Response:
        """200 once a champion is loaded."""
        current = self._slot.current
        if current is None:
            return _json({"ready": False, "reason": self._slot.load_error or "no champion yet"}, 503, "none")
        return _json({"ready": True, "version": current.version}, 200, str(current.version))

    async def metrics(self, _: Request) -> Response:
        """Prometheus text."""
        self._version.set(self._slot.current.version if self._slot.current else 0)
        return Response(generate_latest(self._registry), media_type="text/plain; version=0.0.4")

    async def description(self, _: Request) -> Response:
        """OpenAPI."""
        current = self._slot.current
        return _json(openapi(self._name, current.signature if current else None), 200, "")

    async def docs(self, _: Request) -> Response:
        """The description for people, without anything from outside."""
        current = self._slot.current
        text = orjson.dumps(openapi(self._name, current.signature if current else None), option=orjson.OPT_INDENT_2)
        title = f"{self._name}, version {current.version if current else 'none'}"
        body = text.decode().replace("&", "&amp;").replace("<", "&lt;")
        return HTMLResponse(
            f"<!doctype html><meta charset=utf-8><title>{title}</title><h1>{title}</h1>"
            f"<p><a href=/health>health</a> <a href=/ready>ready</a> <a href=/metrics>metrics</a></p><pre>{body}</pre>"
        )


def _json(value: Any, status: int, version: str) -> Response:
    headers = {VERSION_HEADER: version} if version else {}
    return Response(orjson.dumps(value), status, headers, media_type="application/json")
