"""The process of a flow run, in place of ``python -m prefect.engine``: runs a flow of ours by its name.

Prefect's own engine imports what the run's deployment names: an entrypoint, after pull steps that may be shell
commands. Whoever may write to Prefect's API would so run a command beside the signing key. Here the API says which of
our flows, and with which parameters; nothing else of a deployment is read.

``python -m mlratchet.flows.runs.engine`` with ``PREFECT__FLOW_RUN_ID`` in the environment.
"""

from __future__ import annotations

from typing import Any, NoReturn
from uuid import UUID

from mlratchet.flows.monitor import monitor
from mlratchet.flows.retrain import retrain
from mlratchet.flows.score import score
from mlratchet.flows.suspension import Waits, suspend
from mlratchet.flows.tune import tune
from mlratchet.infra.settings import process_environment
from mlratchet.models.errors import SecurityError
from prefect import Flow
from prefect._internal.control_listener import configure_from_env
from prefect.client.orchestration import get_client
from prefect.engine import handle_engine_signals
from prefect.flow_engine import run_flow
from prefect.logging.loggers import flow_run_logger
from prefect.results import ResultStore

FLOWS: dict[str, Flow[..., Any]] = {one.name: one for one in (monitor, retrain, score, tune)}


def flow_named(name: str) -> Flow[..., Any]:
    """Raises ``SecurityError`` for a flow that is none of ours."""
    if name not in FLOWS:
        raise SecurityError(
            f"flow {name!r} is none of ours: this worker runs {', '.join(sorted(FLOWS))} and no code that a deployment "
            "names; delete the deployment, and start a worker of your own for other flows"
        )
    return FLOWS[name]


def refuse_stored_results() -> None:
    """From now on in this process. A state that the API answers with may point to a pickle, anywhere, and Prefect's
    engine would read it. Our flows and tasks store no results."""

    def refuse(_store: ResultStore, key: str, *_args: object, **_more: object) -> NoReturn:
        raise SecurityError(f"a state from Prefect's API points to a stored result ({key}); ours store none")

    async def refuse_too(store: ResultStore, key: str, *_args: object, **_more: object) -> NoReturn:
        refuse(store, key)

    ResultStore.read = refuse  # type: ignore[method-assign,assignment]
    ResultStore.aread = refuse_too  # type: ignore[method-assign,assignment]


def main() -> None:
    """One run, to its end; exits as Prefect's engine does."""
    run_id = UUID(process_environment()["PREFECT__FLOW_RUN_ID"])
    configure_from_env()
    refuse_stored_results()
    with handle_engine_signals(run_id):
        with get_client(sync_client=True) as client:
            flow_run = client.read_flow_run(run_id)
            name = client.read_flow(flow_run.flow_id).name
        logger = flow_run_logger(flow_run=flow_run)
        try:
            flow = flow_named(name)
        except SecurityError as error:
            logger.error(error.line())
            raise
        try:
            run_flow(flow, flow_run=flow_run, error_logger=logger)  # type: ignore[arg-type]  # as Prefect's own engine does
        except Waits as waits:
            suspend(waits)
            raise


if __name__ == "__main__":
    main()
