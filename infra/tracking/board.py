"""The TensorBoard files of the newest run that has any, and a TensorBoard that shows them behind the stack's door.

Run as ``python -m mlratchet.infra.tracking.board HOME FOLDER PORT``, without a private key: it reads what is in
MLflow's bucket.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from mlratchet.infra.machine.free_ports import is_free
from mlratchet.infra.reasons import brief
from mlratchet.infra.settings import load_settings
from mlratchet.infra.stack.access import AccessGuard, Locks, locks_of
from mlratchet.models.errors import ConfigurationError, InfrastructureError
from mlratchet.models.ports.storage import ObjectStore

EVENTS = "events.out.tfevents"  # how the files' names begin; TensorBoard believes what other files of a folder tell it
NEWEST = 100  # runs that are looked at


def fetch_newest(
    uri: str, artifacts: ObjectStore, pipeline: str | None, folder: Path, *, run: str | None = None
) -> str:
    """Fetch the event files of the newest run, of one pipeline or of any, or of `run`, into a new folder below `folder`
    that has the run's id; returns that. `artifacts` is MLflow's bucket. Raises ``ConfigurationError`` when there are
    none."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(uri)
    if run is not None:
        try:
            if fetch_events(artifacts, client.get_run(run), folder):
                return run
        except MlflowException as error:
            raise ConfigurationError(f"run {run} is not in MLflow: {brief(error)}") from error
        raise ConfigurationError(f"run {run} has no TensorBoard files; its training may have begun only just now")
    experiments = [e for e in client.search_experiments() if pipeline is None or e.name == pipeline]
    if experiments:
        ids = [str(e.experiment_id) for e in experiments]
        for found in client.search_runs(ids, max_results=NEWEST, order_by=["attributes.start_time DESC"]):
            if fetch_events(artifacts, found, folder):
                return str(found.info.run_id)
    whose = f"of {pipeline} " if pipeline else ""
    raise ConfigurationError(
        f"no run {whose}has TensorBoard files among the newest {NEWEST}; `ratchet run NAME` makes some"
    )


def fetch_events(artifacts: ObjectStore, run: Any, folder: Path) -> bool:
    """Whether an MLflow run has event files, which are then in its folder below `folder`."""
    root = f"s3://{artifacts.bucket}/"
    place = run.info.artifact_uri or ""
    found = artifacts.list(f"{place.removeprefix(root)}/tensorboard/") if place.startswith(root) else ()
    keys = [info.key for info in found if info.key.rpartition("/")[2].startswith(EVENTS)]
    if keys:
        into = folder / str(run.info.run_id)
        into.mkdir(parents=True)
        for key in keys:
            (into / key.rpartition("/")[2]).write_bytes(artifacts.get(key))
    return bool(keys)


def wait_until_it_answers(board: subprocess.Popen[bytes], port: int, timeout_s: float = 60.0) -> None:
    """Raises ``InfrastructureError`` when it does not."""
    deadline = time.monotonic() + timeout_s
    while is_free(port):
        if board.poll() is not None or time.monotonic() > deadline:
            board.kill()
            raise InfrastructureError(
                f"TensorBoard does not answer on port {port} (exit code {board.poll()}); what it said stands above"
            )
        time.sleep(0.1)


def serve_board(folder: Path, locks: Locks) -> None:
    """Until this process is ended."""
    import uvicorn
    from starlette.middleware.wsgi import WSGIMiddleware
    from tensorboard import program

    host, _, port = locks.host.partition(":")

    class Behind:
        """What TensorBoard takes for its server."""

        def __init__(self, app: Any, _flags: Any) -> None:
            self._app = app

        def get_url(self) -> str:
            """For TensorBoard's own line."""
            return f"http://{locks.host}/"

        def print_serving_message(self) -> None:
            """`ratchet open` says where."""

        def serve_forever(self) -> None:
            """In this thread."""
            uvicorn.run(AccessGuard(WSGIMiddleware(self._app), locks), host=host, port=int(port), log_level="warning")

    board = program.TensorBoard(server_class=Behind)
    # not fast: what makes it so is a process that answers on a port of its own, to anybody
    board.configure(["tensorboard", f"--logdir={folder}", "--load_fast=false"])
    board.main()


def main() -> None:
    """The arguments are the home, the folder of the event files, and the port."""
    home, folder, port = sys.argv[1:]
    serve_board(Path(folder), locks_of(load_settings(Path(home)), "tensorboard", int(port)))


if __name__ == "__main__":
    main()
