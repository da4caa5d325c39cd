"""Where a pipeline, a version or a run stands on the pages of Prefect and MLflow: what `ratchet open` leads to."""

from __future__ import annotations

import json
from dataclasses import replace
from urllib.parse import quote
from uuid import UUID

from mlratchet.models.destination import DATA_PAGE, LAST, TRACKING_RUN, Destination, flow_run_place, place_of
from mlratchet.models.errors import ConfigurationError, SecurityError
from mlratchet.models.ports.storage import ObjectNotFound
from mlratchet.tasks.support.pipelines import require_pipeline
from mlratchet.tasks.support.versions import decisions_of, registration_of
from mlratchet.tasks.wiring import Adapters
from prefect import get_client
from prefect.exceptions import ObjectNotFound as NoDeployment


def prefect_place(adapters: Adapters, subject: Destination) -> str:
    """The run that a subject is or was judged by, the deployment of a pipeline, or the first page.

    Raises ``ConfigurationError`` for what is not there, ``SecurityError`` for a report that no run wrote.
    """
    found = subject.run
    if subject.pipeline is not None and subject.version is not None:
        judged = decisions_of(adapters, subject.pipeline, subject.version)
        found = str(judged[-1]["decision"]["run_id"]) if judged else None
    elif subject.pipeline is not None and found == LAST:
        found = str(report_of(adapters, subject)["run_id"])
    elif subject.pipeline is not None and found is None:
        return deployment_place(adapters, subject.pipeline)
    if found is None:
        return "/"
    return flow_run_place(quote(found, safe=""))


def deployment_place(adapters: Adapters, pipeline: str) -> str:
    """Raises ``ConfigurationError`` before the first `deploy` or `run`."""
    with get_client(sync_client=True) as client:
        try:
            return f"/deployments/deployment/{client.read_deployment_by_name(f'retrain/{pipeline}').id}"
        except NoDeployment:
            require_pipeline(adapters, pipeline)
            raise ConfigurationError(
                f"{pipeline} has no deployment yet; `ratchet deploy {pipeline}` makes it"
            ) from None


def mlflow_place(adapters: Adapters, subject: Destination) -> str:
    """A training, a registered version, all trainings of a pipeline, or the first page. Raises as `prefect_place`."""
    tracker = adapters.tracker
    if subject.pipeline is not None and subject.version is not None:
        record = registration_of(adapters, subject.pipeline, subject.version)
        number = adapters.registry.get_version(record.name, record.version).number
        return place_of(tracker.version_url(record.name, number))
    if subject.run is not None:
        return place_of(tracker.run_url(tracking_run(adapters, subject)))
    if subject.pipeline is None:
        return "/"
    url = tracker.experiment_url(subject.pipeline)
    if url is None:
        require_pipeline(adapters, subject.pipeline)
        raise ConfigurationError(f"{subject.pipeline} was not trained yet; `ratchet run {subject.pipeline}` does")
    return place_of(url)


def data_place(adapters: Adapters, subject: Destination) -> str:
    """The page of what the data of a training holds; of a pipeline alone, that of its last run. Raises as
    `prefect_place`."""
    if subject.version is None and subject.run is None:
        subject = replace(subject, run=LAST)
    return place_of(adapters.tracker.run_url(tracking_run(adapters, subject), f"artifacts/{DATA_PAGE}"))


def tracking_run(adapters: Adapters, subject: Destination) -> str:
    """MLflow's id of the training behind a version or a run. Raises as `prefect_place`."""
    if subject.pipeline is not None and subject.version is not None:
        return registration_of(adapters, subject.pipeline, subject.version).run_id
    asked = str(subject.run)
    if TRACKING_RUN.fullmatch(asked):
        return asked
    under_way = [run.run_id for run in adapters.tracker.running_runs() if run.flow_run == asked]
    if under_way:
        return under_way[0]
    training = report_of(adapters, subject).get("training")
    found = training.get("mlflow_run") if isinstance(training, dict) else None
    if found is None:
        raise ConfigurationError(f"run {asked} trained nothing; `ratchet open prefect --run {asked}` shows what it did")
    if not TRACKING_RUN.fullmatch(str(found)):
        raise SecurityError(f"{adapters.store.bucket}/runs/{asked}.json: names no run of MLflow; no run wrote it")
    return str(found)


def report_of(adapters: Adapters, subject: Destination) -> dict[str, object]:
    """What a run that ended left."""
    key = f"runs/last/{subject.pipeline}.json" if subject.run == LAST else f"runs/{subject.run}.json"
    try:
        report = json.loads(adapters.store.get(key))
        UUID(report["run_id"])
    except ObjectNotFound:
        if subject.pipeline is not None:
            require_pipeline(adapters, subject.pipeline)
        raise ConfigurationError(
            f"run {subject.run} has left no report: it has not ended, or was killed; `ratchet open prefect` lists all"
        ) from None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise SecurityError(f"{adapters.store.bucket}/{key}: is not the report of a run; no run wrote it") from error
    return dict(report)
