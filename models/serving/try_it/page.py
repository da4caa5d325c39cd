"""The page to try a model: a form of its fields, its answer, and why. Nothing is from elsewhere, nothing inline."""

from __future__ import annotations

import html
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp

# its own script and style; a sound that was dropped plays from memory; it asks this server alone
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SCRIPT = "text/javascript"
FILES = {"page.js": SCRIPT, "widgets.js": SCRIPT, "why.js": SCRIPT, "page.css": "text/css"}
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><link rel="icon" href="docs/favicon-32x32.png"><link rel="stylesheet" href="try/page.css"></head>
<body>
<header><div><h1>{title}</h1><p id="about"></p></div>
<nav><a href="docs">API</a><a href="health">health</a></nav></header>
<main>
<section aria-labelledby="ask-title"><h2 id="ask-title">Ask</h2><form id="form" autocomplete="off"></form>
<noscript>This page needs scripts; <a href="docs">the description</a> says how to ask without.</noscript></section>
<section aria-labelledby="answer-title"><h2 id="answer-title">Answer</h2>
<p id="problem" role="alert" hidden></p>
<div id="answer" aria-live="polite"><p class="quiet">Nothing was asked yet.</p></div>
<div id="why" hidden></div></section>
</main>
<script type="module" src="try/page.js"></script></body></html>
"""


def try_page(name: str) -> Response:
    """The page."""
    return HTMLResponse(PAGE.format(title=html.escape(name)), headers={"content-security-policy": POLICY})


def try_files() -> dict[str, Callable[[Request], Awaitable[ASGIApp]]]:
    """What it loads, by path."""

    def file(name: str) -> Callable[[Request], Awaitable[ASGIApp]]:
        async def send(_: Request) -> ASGIApp:
            text = Path(__file__).with_name(name).read_bytes()
            return Response(text, media_type=FILES[name], headers={"cache-control": "no-cache"})

        return send

    return {f"/try/{name}": file(name) for name in FILES}
