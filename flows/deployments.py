"""Pipelines as Prefect deployments."""

from __future__ import annotations

import getpass
import time
from pathlib import Path
from typing import Any

from mlratchet.flows.check_file import check_pipeline
from mlratchet.flows.parameters import RetrainParameters, TuneParameters
from mlratchet.flows.retrain import retrain
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
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.schedules import Cron
from prefect.types.entrypoint import EntrypointType

ONE_AT_A_TIME = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE)


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
    deployment = retrain.to_deployment(
        name=spec.name,
        description=describe(spec),
        tags=sorted({"ratchet", *spec.tags}),
        schedules=[Cron(spec.schedule.cron, timezone=spec.schedule.timezone)] if spec.schedule else [],
        parameters={"pipeline": spec.name, "parameters": asked},
        concurrency_limit=ONE_AT_A_TIME,
        entrypoint_type=EntrypointType.MODULE_PATH,
        work_pool_name=settings.work_pool,
    )
    assert isinstance(deployment, RunnerDeployment)  # `to_deployment` is a coroutine inside an event loop only
    identity = deployment.apply(work_pool_name=settings.work_pool)
    rules = spec.monitoring.actions if spec.monitoring is not None else ()
    if any(rule.do == "retrain" for rule in rules):
        follow_requests(str(identity), spec.name, wanted=True)
    ui = str(settings.prefect_api_url).removesuffix("/api")
    study = deploy_study(spec, settings) if spec.tune is not None else None
    return {
        "pipeline": spec.name,
        "revision": revision,
        "deployment_id": str(identity),
        "url": f"{ui}/deployments/deployment/{identity}",
        "tune_url": f"{ui}/deployments/deployment/{study}" if study else None,
    }


def deploy_study(spec: PipelineSpec, settings: Settings) -> str:
    """The deployment of the study, beside that of the retrain; returns its id."""
    assert spec.tune is not None
    when = spec.tune.schedule
    deployment = tune.to_deployment(
        name=spec.name,
        description=(
            f"Search for better settings of {spec.name}: {spec.tune.metric} over {len(spec.tune.space)} keys, on rows "
            "that no gate judges on. Nothing is promoted; the best goes through the gates of a retrain."
        ),
        tags=sorted({"ratchet", *spec.tags}),
        schedules=[Cron(when.cron, timezone=when.timezone)] if when else [],
        parameters={
            "pipeline": spec.name,
            "parameters": TuneParameters.of(spec.tune).model_dump(mode="json"),
        },
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE),
        entrypoint_type=EntrypointType.MODULE_PATH,
        work_pool_name=settings.work_pool,
    )
    assert isinstance(deployment, RunnerDeployment)  # as above
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
