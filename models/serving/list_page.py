"""The page of a server: its pipelines, and the way to each. For browsers; scripts get the same as JSON."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

from starlette.responses import HTMLResponse, Response

STYLE = "/style.css"  # no pipeline has a dot in its name
POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Models served here</title><link rel="stylesheet" href="style.css"></head>
<body><header><h1>Models served here</h1><nav><a href="health">health</a> <a href="metrics">metrics</a></nav></header>
<main>{models}</main></body></html>
"""
NOTHING = '<p class="quiet">None yet. A pipeline is served once a version of it was promoted.</p>'
MODEL = """<article><a class="name" href="{name}/">{title}</a>
<p class="{state}">{words}</p>
<nav><a href="{name}/">try it</a> <a href="{name}/docs">API</a> <a href="{name}/health">health</a></nav></article>"""
CSS = """:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5b6673; --line: #d8dee6; --card: #fff;
  --page: #f5f7fa; --way: #0b62c4; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ecf1; --soft: #9aa6b4; --line: #313943; --card: #1b2027;
  --page: #12161b; --way: #79b4ff; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
header, main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 0; }
header { display: flex; justify-content: space-between; align-items: baseline; gap: 1rem; flex-wrap: wrap; }
h1 { font-size: 1.4rem; margin: 0; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); gap: 1rem; padding-bottom: 2rem; }
article { background: var(--card); border: 1px solid var(--line); border-radius: .75rem; padding: 1rem 1.25rem; }
a { color: var(--way); text-decoration: none; }
a:hover, a:focus { text-decoration: underline; }
nav a { margin-right: .75rem; }
.name { font-size: 1.15rem; font-weight: 600; overflow-wrap: anywhere; }
p { margin: .25rem 0 .75rem; color: var(--soft); overflow-wrap: anywhere; }
p.behind, p.waiting { color: var(--bad); }
"""


def list_page(facts: Iterable[dict[str, Any]]) -> Response:
    """`facts`: of each pipeline, as `/health` tells them."""
    models = "\n".join(map(_model, facts))
    return HTMLResponse(PAGE.format(models=models or NOTHING), headers={"content-security-policy": POLICY})


def _model(facts: dict[str, Any]) -> str:
    version, error = facts["version"], facts["load_error"]
    if version is None:
        state, words = "waiting", f"not served: {error or 'no champion yet'}"
    elif error:
        state, words = "behind", f"version {version}; a newer one cannot be served: {error}"
    else:
        state, words = "served", f"version {version}"
    name = html.escape(facts["pipeline"], quote=True)
    return MODEL.format(name=name, title=name, state=state, words=html.escape(words))


def wants_a_page(accept: str | None) -> bool:
    """Whether a browser asks: it says `text/html`, and scripts do not."""
    return accept is not None and "text/html" in accept.lower()
