"""Prefect's own command line for the stack's worker, which starts one fixed command per flow run and nothing else.

Prefect's worker takes command, environment and folder from the job variables of pool, deployment and run, and its
engine the code from the deployment: whoever may write to Prefect's API would run anything as the stack's user, beside
the signing key. This one takes the run's id alone (`flows/runs/engine.py` runs a flow of ours by its name). The run is
a fork of the warm process, which spares it three seconds of imports.

``python -m mlratchet.infra.stack.prefect_worker HOME worker start ...``
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any, ClassVar, Self

from prefect import Flow
from prefect.utilities.processutils import command_to_string
from prefect.workers import process


class FixedJob(process.ProcessJobConfiguration):
    """The one command, this process's environment and a folder made for the run, whatever Prefect's API says."""

    home: ClassVar[str] = ""  # of the stack

    @classmethod
    async def from_template_and_values(cls, *_template: Any, **_values: Any) -> Self:
        """Nothing of the pool's template, nor of the job variables of a deployment or a run."""
        return cls(command=command_of(cls.home))


def without_hooks(_flow_run: Any) -> Any:
    """In place of the import of a crashed run's flow, where the worker would look for hooks; ours have none."""

    async def resolved() -> Flow[Any, Any]:
        return Flow(fn=lambda: None, name="ratchet")

    return resolved()


def command_of(home: str) -> str:
    """Of the process of a flow run."""
    return command_to_string([sys.executable, "-P", "-m", "mlratchet.infra.warm.hand_over", home])


def fork_runs(home: str) -> None:
    """From now on in this process."""
    FixedJob.home = home
    process.ProcessWorker.job_configuration = FixedJob
    process.load_flow_from_flow_run = without_hooks  # type: ignore[attr-defined,assignment]


def main() -> None:
    """The first argument is the stack's home, the others are Prefect's."""
    from prefect.cli import app

    with warnings.catch_warnings():  # being defined, it takes the place of Prefect's own, which Prefect warns of
        warnings.simplefilter("ignore", UserWarning)
        from mlratchet.infra.stack.suspended_runs import SuspendedRuns
        from mlratchet.infra.stack.worker_queue import OneForMissedTicks
    assert OneForMissedTicks.type == process.ProcessWorker.type
    home = sys.argv.pop(1)
    OneForMissedTicks.waiting = SuspendedRuns(Path(home))
    fork_runs(home)
    app()


if __name__ == "__main__":
    main()
