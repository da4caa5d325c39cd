"""The composition root of a run: the only place under tasks/ that names concrete adapters."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from functools import cached_property
from typing import Any

from mlratchet.infra.child.keep_out import keep_users_code_out
from mlratchet.infra.keys.files import InstalledKeys
from mlratchet.infra.launch.local import LocalLauncher
from mlratchet.infra.ledger.heads import open_heads
from mlratchet.infra.ledger.objects import ObjectLedger
from mlratchet.infra.machine.scratch import is_gone, lease_of, open_scratch
from mlratchet.infra.machine.temporary import name_folders
from mlratchet.infra.serving.local import LocalServers
from mlratchet.infra.settings import Settings, load_settings
from mlratchet.infra.storage.opening import Buckets, shard_cache
from mlratchet.infra.storage.s3 import S3Store
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.data.prepared_shards import fitted_to, with_fitted
from mlratchet.models.decisions.waiting import WaitingRun, waiting_of
from mlratchet.models.errors import ConfigurationError, InfrastructureError, SecurityError
from mlratchet.models.garbage.lock import collections, wait_for_collector
from mlratchet.models.identity.claim import Claim, is_current
from mlratchet.models.identity.closure import Closure, source_of
from mlratchet.models.identity.lease import LeaseKeeper
from mlratchet.models.identity.product import DATA, reached_through_workloads
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.monitoring.finding import Finding
from mlratchet.models.pipeline.changes import Changes, changed_pipeline
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.pipeline.store import (
    Deployment,
    load_pipeline,
    newest_deployment,
    publish_pipeline,
    take_order,
)
from mlratchet.models.pipeline.work_key import training_code
from mlratchet.models.ports.registry import Registry
from mlratchet.models.ports.tracker import Tracker
from mlratchet.models.serving.servers import Servers
from mlratchet.models.sources.formats import references_of
from mlratchet.models.training.job import StaleAttemptError
from mlratchet.models.training.launcher import Launcher
from mlratchet.models.workloads.base import Workload
from mlratchet.models.workloads.loading import load_workload, workload_source
from mlratchet.tasks.support.check_whole import check_whole


class Adapters:
    """Everything outside the process, opened once and on first use."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def bucket(self) -> Buckets:
        """A bucket of the stack's S3, by name."""
        return Buckets(self.settings)

    @cached_property
    def raw(self) -> S3Store:
        """Where deliveries arrive."""
        return self.bucket(self.settings.raw_bucket)

    @cached_property
    def store(self) -> RecordStore:
        """Where everything of ours lives: records are signed as they are written, and believed if they are signed."""
        bucket = self.bucket(self.settings.store_bucket)
        bucket.files = bucket.files or shard_cache(self.settings, bucket)
        bucket.sources = self.bucket
        return RecordStore(bucket, self.keys)

    @cached_property
    def keys(self) -> InstalledKeys:
        """What signs, and whom to believe."""
        return InstalledKeys(self.settings)

    @cached_property
    def ledger(self) -> ObjectLedger:
        """The history of promotions."""
        return ObjectLedger(self.store, self.keys, open_heads(self.settings))

    @cached_property
    def registry(self) -> Registry:
        """Versions, aliases, tags. MLflow is imported here: two seconds that an unchanged run does not need."""
        from mlratchet.infra.registry.mlflow import MlflowRegistry

        return MlflowRegistry(self.settings.mlflow_tracking_uri)

    @cached_property
    def tracker(self) -> Tracker:
        """Runs, metrics, artifacts."""
        from mlratchet.infra.tracking.mlflow import MlflowTracker

        return MlflowTracker(self.settings.mlflow_tracking_uri)

    @cached_property
    def launcher(self) -> Launcher:
        """Who starts ranks."""
        return LocalLauncher(self.settings.home)

    @cached_property
    def servers(self) -> Servers:
        """Who runs the model servers."""
        return LocalServers(self.settings.home)


class Run:
    """One retrain: the pipeline, its workload, the adapters and who asked. Not a dataclass, so that Prefect
    passes it to tasks as it is instead of looking inside."""

    def __init__(
        self,
        spec: PipelineSpec,
        adapters: Adapters,
        *,
        run_id: str,
        actor: str,
        waited: WaitingRun | None = None,
        because: Finding | None = None,
    ) -> None:
        self.spec = spec
        self.because = because  # what monitoring found, of a run that it asked for
        self.waited = waited  # what it asked people in a process before this one, and on what it asked
        self.adapters = adapters
        self.run_id = run_id
        self.actor = actor
        self.snapshot_id = ""  # of the delivery, once it is ingested
        self.tracking_run: str | None = None  # set by the training task; `close` ends it
        self.pages: dict[str, bytes] = {}  # of decisions, not yet in MLflow
        self.fitted = (
            ""  # what the preparation of its rows was fitted to, for whoever loads the workload (`with_fitted`)
        )
        self.reading = ""  # what was read of the delivery, in a line; set by the step that reads, or that recognises
        self.claim: Claim | None = None  # set by the training task
        self.lease = LeaseKeeper(adapters.store, lease_of(run_id, spec.name, actor))  # given back by `close`
        self._collections = wait_for_collector(adapters.store, is_gone=is_gone)
        self.scratch = open_scratch(adapters.settings.home, run_id)  # removed by `close`

    @cached_property
    def workload(self) -> Workload:
        """The pipeline's workload."""
        return load_workload(self.spec.workload.use, dict(self.spec.workload.parameters))

    def prepared_by(self, dataset: DatasetManifest) -> None:
        """From now on the workload is the one that prepares as this dataset was prepared. Not before the delivery was
        read: a record holds the example as it came. Idempotent."""
        if dataset.preparation_sha256 and not self.fitted:
            self.fitted = fitted_to(self.adapters.store, dataset)
            made = with_fitted(self.spec.workload, self.fitted)
            self.workload = load_workload(made.use, dict(made.parameters))

    @cached_property
    def workload_source(self) -> Closure:
        """What the workload is made of."""
        return workload_source(self.spec.workload.use, self.workload.task)

    @property
    def workload_digest(self) -> str:
        """SHA-256 hex of the workload's source."""
        return self.workload_source.digest()

    @cached_property
    def data_code(self) -> dict[str, Any]:
        """The code that decides rows and sides."""
        follow = reached_through_workloads()
        formats = [source_of(reference, follow=follow) for reference in references_of(self.spec.source)]
        code = DATA.code(self.workload_source, *formats)
        schema = self.spec.example_schema
        if schema is None:
            return code
        from mlratchet.models.preparation.composed import PreparationPlan
        from mlratchet.models.preparation.section import AS_USUAL

        return code | {"preparation": PreparationPlan(schema, self.spec.preparation or AS_USUAL).identity()}

    @cached_property
    def training_code(self) -> dict[str, Any]:
        """The code that decides weights."""
        return training_code(self.spec, self.workload_source)

    @property
    def raw(self) -> S3Store:
        """The bucket that the pipeline reads."""
        bucket = self.spec.source.bucket
        return self.adapters.bucket(bucket) if bucket else self.adapters.raw

    def refuse_if_stale(self) -> None:
        """Before something is published that others rely on.

        Raises ``StaleAttemptError`` when this process was stopped for so long that another run took over the work, or
        garbage was collected while nobody could know that it lives.
        """
        store = self.adapters.store
        if self.claim is not None and not is_current(store, self.claim):
            raise StaleAttemptError(
                f"a newer attempt has work {self.claim.work_key[:12]}; this one (epoch {self.claim.epoch}) ends"
            )
        if self.lease.lapsed and collections(store) - self._collections:
            raise StaleAttemptError(
                f"run {self.run_id} gave no sign of life for a minute and `ratchet gc` has run meanwhile; run it again"
            )

    def close(self, *, failed: bool) -> None:
        """End the tracking run and remove the scratch directory. A gate that said no is a finished run."""
        self.lease.close()
        shutil.rmtree(self.scratch, ignore_errors=True)
        if self.tracking_run is not None:
            with suppress(InfrastructureError):  # MLflow is down: `ratchet reconcile` ends it later
                self.adapters.tracker.end_run(self.tracking_run, status="FAILED" if failed else "FINISHED")


def deployed_revision(adapters: Adapters, name: str) -> str:
    """What the newest entry of the signed chain says.

    Raises ``ConfigurationError`` where nothing signed was ever deployed, ``SecurityError`` when this installation has
    seen a newer entry: whoever cuts the chain brings an older file back, with the gates of then.
    """
    newest, heads = newest_deployment(adapters.store, name), open_heads(adapters.settings)
    if newest is None:
        raise ConfigurationError(
            f"{name} has no signed deployment in {adapters.store.bucket}; `ratchet deploy {name}` makes one"
        )
    number, digest = heads.mark(name, "deployment")
    if newest.number < number or (newest.number == number and newest.digest() != digest):
        raise SecurityError(
            f"deployments/{name}: entry {number} was the newest here and is gone or another; restore it from a copy of "
            f"the bucket, or `ratchet deploy {name}` to follow the file again"
        )
    remember_deployment(adapters, newest)
    return newest.revision


def remember_deployment(adapters: Adapters, newest: Deployment) -> None:
    """Keep outside the bucket which entry was the newest."""
    open_heads(adapters.settings).keep_mark(newest.name, "deployment", newest.number, newest.digest())


def open_adapters() -> Adapters:
    """The adapters that the settings name."""
    settings = load_settings()
    keep_users_code_out(settings.home, settings)
    name_folders()
    return Adapters(settings)


def open_run(
    adapters: Adapters,
    pipeline: str,
    order: str,
    changes: Changes,
    *,
    run_id: str,
    actor: str,
    because: Finding | None = None,
) -> Run:
    """The run of a pipeline's newest deployment, or of an order from the command line.

    Args:
        adapters: Where.
        pipeline: Its name.
        order: What `publish_order` gave; empty for the deployment.
        changes: What the run was told.
        run_id: Prefect's.
        actor: Who says that they ask; of an order it is who signed.
        because: What monitoring found, verified.

    One that asked people and is taken up again is what it was when it asked, whatever was deployed since.

    Raises ``ConfigurationError`` for what could never work, wherever it came from: nothing trains first;
    ``SecurityError`` for a deployment or an order that is not signed, or a chain whose newest entry is gone.
    """
    waited = waiting_of(adapters.store, pipeline, run_id, now_s=time.time())
    if waited is not None:
        revision, actor, changes = waited.revision, waited.actor, Changes()
    elif order:
        ordered = take_order(adapters.store, pipeline, order, run_id=run_id, now_s=time.time())
        revision, actor = ordered.revision, ordered.actor
    else:
        revision = deployed_revision(adapters, pipeline)
    deployed = load_pipeline(adapters.store, revision)
    if deployed.name != pipeline:
        raise SecurityError(f"revision {revision[:12]} is of pipeline {deployed.name}, but {pipeline} was asked for")
    spec = changed_pipeline(deployed, changes)
    if spec is not deployed:
        publish_pipeline(adapters.store, spec)  # its digest stands in the decisions
    check_whole(spec)
    adapters.launcher.processes(spec.train)
    return Run(spec, adapters, run_id=run_id, actor=actor, waited=waited, because=because)
