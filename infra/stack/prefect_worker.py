"""Prefect's own command line for the stack's worker, whose flow runs are forks of the warm process.

Prefect 3.8 starts an interpreter that imports Prefect to prepare a workspace, and then another that imports Prefect,
torch and the flow: three seconds of CPU before a run begins. Ours need no workspace, they are modules that are
installed. And when a run crashed, the worker would import its flow to look for hooks; ours have none.

``python -m mlratchet.infra.stack.prefect_worker HOME worker start ...``
"""

from __future__ import annotations

import sys
from typing import Any

from prefect import Flow
from prefect.utilities.processutils import command_to_string
from prefect.workers import process


def without_hooks(_flow_run: Any) -> Any:
    """In place of the import."""

    async def resolved() -> Flow[Any, Any]:
        return Flow(fn=lambda: None, name="ratchet")

    return resolved()


def command_of(home: str) -> str:
    """Of the process of a flow run."""
    return command_to_string([sys.executable, "-m", "mlratchet.infra.warm.hand_over", home])


def fork_runs(home: str) -> None:
    """From now on in this process. A pool or deployment that names a command keeps it."""
    prepare = process.ProcessJobConfiguration.prepare_for_flow_run

    def prepare_for_flow_run(configuration: process.ProcessJobConfiguration, *args: Any, **more: Any) -> None:
        configuration.command = configuration.command or command_of(home)
        prepare(configuration, *args, **more)

    process.ProcessJobConfiguration.prepare_for_flow_run = prepare_for_flow_run  # type: ignore[method-assign,assignment]
    process.load_flow_from_flow_run = without_hooks  # type: ignore[attr-defined,assignment]


def main() -> None:
    """The first argument is the stack's home, the others are Prefect's."""
    from prefect.cli import app

    fork_runs(sys.argv.pop(1))
    app()


if __name__ == "__main__":
    main()
