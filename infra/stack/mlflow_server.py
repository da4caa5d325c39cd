"""MLflow's own command line, behind our door, in one process, without what runs or reads things on this machine.

`mlflow server` prepares its database and then starts an interpreter that imports MLflow again, under a supervisor that
starts it anew when it dies. The stack has a supervisor.

Whoever may use MLflow's API could have its Assistant run commands here (its Bash tool, told what to do by any model
that the caller names), and read each file of the stack's user: an experiment may say that its artifacts lie in
`file:///...`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow.server
import uvicorn
from mlflow.store.artifact.artifact_repository_registry import _artifact_repository_registry
from mlratchet.infra.machine.free_ports import remembered_ports
from mlratchet.infra.settings import add_to_environment, load_settings
from mlratchet.infra.stack.access import AccessGuard, Locks, answer, locks_of, page
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CLOSED = "/ajax-api/3.0/mlflow/assistant"  # and what is below it
# MLflow 3.17 shows a new browser its GenAI view, whatever the kind of an experiment, and opens the panel of its
# Assistant. Both are remembered in the browser under these keys; what somebody has chosen there stays.
FIRST_VISIT = {
    "mlflow.workflowType_v1": '"machine_learning"',
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
}
HEAD = b"<head>"
ARTIFACTS = "s3"  # the one scheme of artifacts that the server reads or writes; of no bucket but its own, by its key


class WithoutAssistant:
    """An ASGI application in front of MLflow's."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """404 below `CLOSED`."""
        if scope["type"] == "http" and scope["path"].startswith(CLOSED):
            await answer(send, 404, page("MLflow's Assistant is not part of this stack: it runs commands"))
        else:
            await self._app(scope, receive, send)


class TrainingFirst:
    """An ASGI application in front of MLflow's: its one page begins with the training view in a new browser."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The page with `first_visit` at its head; everything else as it comes."""
        if scope["type"] != "http" or scope["method"] != "GET" or scope["path"] != "/":
            await self._app(scope, receive, send)
            return
        start: dict[str, Any] = {}
        body = bytearray()

        async def hold(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            body.extend(message.get("body", b""))
            if not message.get("more_body"):
                told = bytes(body).replace(HEAD, HEAD + first_visit(FIRST_VISIT).encode(), 1)
                changed = (b"content-length", b"etag", b"last-modified")
                kept = [(name, value) for name, value in start["headers"] if name.lower() not in changed]
                await send({**start, "headers": [*kept, (b"content-length", str(len(told)).encode())]})
                await send({"type": "http.response.body", "body": told})

        await self._app(without_conditions(scope), receive, hold)


def without_conditions(scope: Scope) -> Scope:
    """The same request, of whoever has no earlier answer to it: that may be the page as MLflow gives it."""
    asked = (b"if-none-match", b"if-modified-since", b"range")
    return {**scope, "headers": [one for one in scope["headers"] if one[0].lower() not in asked]}


def first_visit(values: Mapping[str, str]) -> str:
    """A script that puts values into the browser's local storage where it has none of its own."""
    held = json.dumps(dict(values)).replace("<", "\\u003c")
    keep = "localStorage.getItem(k)??localStorage.setItem(k,v)"
    return f"<script>for(const [k,v] of Object.entries({held})){keep}</script>"


def read_no_files() -> None:
    """From now on in this process: artifacts lie in S3 or nowhere."""
    held = _artifact_repository_registry._registry
    for scheme in [*held]:
        if scheme != ARTIFACTS:
            del held[scheme]


def serve_here(locks: Locks) -> None:
    """In place of the new interpreter, from now on in this process."""

    def serve(_command: list[str], *, extra_env: dict[str, str], **_more: Any) -> None:
        add_to_environment(extra_env)
        from mlflow.server.fastapi_app import app

        read_no_files()
        host, _, port = locks.host.partition(":")
        uvicorn.run(
            AccessGuard(TrainingFirst(WithoutAssistant(app)), locks), host=host, port=int(port), log_level="warning"
        )
        sys.exit(0)  # before MLflow waits for the process that it did not start

    mlflow.server._exec_cmd = serve  # type: ignore[attr-defined,assignment]  # MLflow has no other seam here


def main() -> None:
    """`python -m mlratchet.infra.stack.mlflow_server HOME server ...`"""
    from mlflow.cli import cli

    home = Path(sys.argv.pop(1))
    serve_here(locks_of(load_settings(home), "mlflow", remembered_ports(home)["mlflow"]))
    cli()


if __name__ == "__main__":
    main()
