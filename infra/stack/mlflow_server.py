"""MLflow's own command line, behind our door, in one process, without what runs or reads things on this machine.

`mlflow server` prepares its database and then starts an interpreter that imports MLflow again, under a supervisor that
starts it anew when it dies. The stack has a supervisor.

Whoever may use MLflow's API could have its Assistant run commands here (its Bash tool, told what to do by any model
that the caller names), and read each file of the stack's user: an experiment may say that its artifacts lie in
`file:///...`.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow.server
import uvicorn
from mlflow.store.artifact.artifact_repository_registry import _artifact_repository_registry
from mlratchet.infra.machine.free_ports import remembered_ports
from mlratchet.infra.settings import add_to_environment, load_settings
from mlratchet.infra.stack.access import AccessGuard, Locks, answer, locks_of, page
from starlette.types import ASGIApp, Receive, Scope, Send

CLOSED = "/ajax-api/3.0/mlflow/assistant"  # and what is below it
# MLflow 3.17 begins with its GenAI view and an open panel of its Assistant; these are the keys of its own choice
FIRST_VISIT = {
    "mlflow.workflowType_v1": '"machine_learning"',
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
}
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
        uvicorn.run(AccessGuard(WithoutAssistant(app), locks), host=host, port=int(port), log_level="warning")
        sys.exit(0)  # before MLflow waits for the process that it did not start

    mlflow.server._exec_cmd = serve  # type: ignore[attr-defined,assignment]  # MLflow has no other seam here


def main() -> None:
    """`python -m mlratchet.infra.stack.mlflow_server HOME server ...`"""
    from mlflow.cli import cli

    home = Path(sys.argv.pop(1))
    locks = locks_of(load_settings(home), "mlflow", remembered_ports(home)["mlflow"])
    serve_here(replace(locks, first_visit=FIRST_VISIT))
    cli()


if __name__ == "__main__":
    main()
