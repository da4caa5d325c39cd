"""The description of a server for people: Swagger UI from an installed package, nothing from elsewhere."""

from __future__ import annotations

import html
import importlib.util
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response

PACKAGE = "fastapi_swagger"  # of which the files are read and no line is run
FILES = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png")
START = """window.onload = () => SwaggerUIBundle({
  url: "openapi.json", dom_id: "#docs", deepLinking: true, validatorUrl: "none", tryItOutEnabled: true,
});
"""
# what the page may load, whatever a description says: its own files, and the pictures that stand in the style sheet
POLICY = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'"
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<link rel="icon" href="docs/favicon-32x32.png"><link rel="stylesheet" href="docs/swagger-ui.css"></head>
<body><div id="docs">
<noscript>This page needs scripts; <a href="openapi.json">openapi.json</a> does not.</noscript></div>
<script src="docs/swagger-ui-bundle.js"></script><script src="docs/start.js"></script></body></html>
"""


@cache
def folder() -> Path:
    """Where the package's files are."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"{PACKAGE} is not installed; pip install -r requirements.lock")
    return Path(spec.submodule_search_locations[0]) / "resources"


def page(title: str) -> Response:
    """The page."""
    return HTMLResponse(PAGE.format(title=html.escape(title)), headers={"content-security-policy": POLICY})


def files() -> dict[str, Callable[[Request], Awaitable[Response]]]:
    """What the page loads, by path."""

    async def start(_: Request) -> Response:
        return Response(START, media_type="text/javascript")

    def file(name: str) -> Callable[[Request], Awaitable[Response]]:
        async def send(_: Request) -> Response:
            return FileResponse(folder() / name, headers={"cache-control": "max-age=3600"})

        return send

    return {"/docs/start.js": start, **{f"/docs/{name}": file(name) for name in FILES}}
