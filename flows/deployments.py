"""Pipelines as Prefect deployments."""

from __future__ import annotations

import datetime as dt
import getpass
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlratchet.flows.check_file import check_pipeline
from mlratchet.flows.monitor import monitor
from mlratchet.flows.parameters import RetrainParameters, TuneParameters
from mlratchet.flows.retrain import retrain
from mlratchet.flows.score import score
from mlratchet.flows.tune import tune
from mlratchet.flows.withdraw import bring_back
from mlratchet.infra.settings import Settings, load_settings
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.gates.names import GATES
from mlratchet.models.pipeline.loading import find_pipeline
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.pipeline.store import publish_deployment, publish_pipeline
from mlratchet.tasks.actions.start_retrains import follow_requests
from mlratchet.tasks.wiring import Adapters, remember_deployment
from prefect import Flow, get_client
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.schedules import Cron, Interval, Schedule
from prefect.types.entrypoint import EntrypointType

ONE_AT_A_TIME = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE)

# a look that is late is not made up for: the next one takes up what is new
LOOKS = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)


def deploy_pipeline(file: Path, adapters: Adapters) -> dict[str, Any]:
    """One deployment, made or brought up to date."""
    spec, warnings = check_pipeline(file)
    return deploy_spec(spec, adapters) | {"warnings": warnings}


def deploy_spec(spec: PipelineSpec, adapters: Adapters) -> dict[str, Any]:
    """The deployment of a pipeline, made or brought up to date, and written down in the bucket."""
    revision = publish_pipeline(adapters.store, spec)
    remember_deployment(
        adapters,
        publish_deployment(adapters.store, spec.name, revision, actor=getpass.getuser(), at_s=time.time()),
    )
    settings: Settings = adapters.settings
    asked = RetrainParameters.of(spec.train).model_dump(mode="json")
    identity = applied(
        retrain,
        spec,
        settings,
        description=describe(spec),
        schedules=[Cron(spec.schedule.cron, timezone=spec.schedule.timezone)] if spec.schedule else [],
        parameters={"pipeline": spec.name, "parameters": asked},
    )
    rules = spec.monitoring.actions if spec.monitoring is not None else ()
    if any(rule.do == "retrain" for rule in rules):
        follow_requests(identity, spec.name, wanted=True)
    ui = str(settings.prefect_api_url).removesuffix("/api")
    study = deploy_study(spec, settings) if spec.tune is not None else None
    watching = deploy_monitor(spec, settings) if spec.monitoring is not None else None
    deploy_scoring(spec, settings)
    return {
        "pipeline": spec.name,
        "revision": revision,
        "deployment_id": identity,
        "url": f"{ui}/deployments/deployment/{identity}",
        "tune_url": f"{ui}/deployments/deployment/{study}" if study else None,
        "monitor_url": f"{ui}/deployments/deployment/{watching}" if watching else None,
    }


def deploy_study(spec: PipelineSpec, settings: Settings) -> str:
    """The deployment of the study, beside that of the retrain; returns its id."""
    assert spec.tune is not None
    when = spec.tune.schedule
    return applied(
        tune,
        spec,
        settings,
        description=(
            f"Search for better settings of {spec.name}: {spec.tune.metric} over {len(spec.tune.space)} keys, on rows "
            "that no gate judges on. Nothing is promoted; the best goes through the gates of a retrain."
        ),
        schedules=[Cron(when.cron, timezone=when.timezone)] if when else [],
        parameters={
            "pipeline": spec.name,
            "parameters": TuneParameters.of(spec.tune).model_dump(mode="json"),
        },
    )


def deploy_monitor(spec: PipelineSpec, settings: Settings) -> str:
    """The deployment that looks at the log, beside that of the retrain; returns its id."""
    assert spec.monitoring is not None
    return applied(
        monitor,
        spec,
        settings,
        description=(
            f"Looks at what {spec.name} was asked and answered: what drifted, how good the answers are, whether it "
            "serves as it should. `ratchet monitor` shows the same."
        ),
        schedules=[Interval(dt.timedelta(seconds=spec.monitoring.every))],
        parameters={"pipeline": spec.name},
        at_once=LOOKS,
    )


def deploy_scoring(spec: PipelineSpec, settings: Settings) -> None:
    """The deployment that scores a batch, which waits for whoever says from where and to where. It is asked for first:
    nothing of it changes from run to run."""
    description = (
        f"Scores every row below one place of S3 by a version of {spec.name}, the champion where none is named, and "
        "writes Parquet below another. Started again after a kill it scores the rest. `ratchet score` does the same."
    )
    with suppress(ObjectNotFound), get_client(sync_client=True) as client:
        if client.read_deployment_by_name(f"{score.name}/{spec.name}").description == description:
            return
    applied(score, spec, settings, description=description, schedules=[], parameters={"pipeline": spec.name})


def applied(
    flow: Flow[..., Any],
    spec: PipelineSpec,
    settings: Settings,
    *,
    description: str,
    schedules: Sequence[Schedule],
    parameters: dict[str, Any],
    at_once: ConcurrencyLimitConfig = ONE_AT_A_TIME,
) -> str:
    """A flow's deployment of a pipeline, made or brought up to date; returns its id."""
    deployment = flow.to_deployment(
        name=spec.name,
        description=description,
        tags=sorted({"ratchet", *spec.tags}),
        schedules=list(schedules),
        parameters=parameters,
        concurrency_limit=at_once,
        entrypoint_type=EntrypointType.MODULE_PATH,
        work_pool_name=settings.work_pool,
    )
    assert isinstance(deployment, RunnerDeployment)  # `to_deployment` is a coroutine inside an event loop only
    return str(deployment.apply(work_pool_name=settings.work_pool))


def describe(spec: PipelineSpec) -> str:
    """Markdown for the deployment's page."""
    counts = ", ".join(f"{gate} {len(spec.gates.checks(gate))}" for gate in GATES)
    return (
        f"{spec.description}\n\n- Owner: {spec.owner or 'not stated'}\n- Workload: `{spec.workload.use}`\n"
        f"- Source: `{spec.source.prefix}`\n- Checks per gate: {counts}\n- Revision: `{spec.revision()[:12]}`\n"
    )


def deploy_named(name: str) -> dict[str, Any]:
    """The pipeline of one file of the settings' directory."""
    settings = load_settings()
    adapters = Adapters(settings)
    made = deploy_pipeline(find_pipeline(settings.pipelines_dir, name), adapters)
    bring_back(adapters, name)
    return made


def deploy_every() -> tuple[list[dict[str, Any]], list[ConfigurationError]]:
    """All pipelines of the settings' directory, and why files were left out: a mistake in one stops no other."""
    settings = load_settings()
    adapters = Adapters(settings)
    made, refused = [], []
    for file in sorted(settings.pipelines_dir.glob("*.yaml")):
        try:
            made.append(deploy_pipeline(file, adapters))
            bring_back(adapters, made[-1]["pipeline"])
        except ConfigurationError as error:
            refused.append(error if str(error).startswith(str(file)) else ConfigurationError(f"{file}: {error}"))
    return made, refused
