"""One trial: a real training in a folder of its own, scored on the study's rows, ended as soon as it is pruned."""

from __future__ import annotations

import math
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mlratchet.infra.search.study import AskedTrial, Search
from mlratchet.models.data.prepared_shards import with_fitted
from mlratchet.models.errors import ConfigurationError, InfrastructureError, RatchetError, SecurityError
from mlratchet.models.fault_points import fault_point
from mlratchet.models.identity.claim import read_claims, take_claim
from mlratchet.models.metrics.rows import load_rows
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.ports.storage import StorageError
from mlratchet.models.sources.log_rows import logged_weight
from mlratchet.models.training.checkpoint import drop_checkpoints
from mlratchet.models.training.job import AbandonedError, StaleAttemptError, TrainJob
from mlratchet.models.training.result import TrainResult, find_result
from mlratchet.models.tuning.study import TrialFacts
from mlratchet.tasks.showing.mlflow_study import StudyTracking, TrialRun
from mlratchet.tasks.steps.study import Study
from mlratchet.tasks.wiring import Run

MOST_ATTEMPTS = 3  # at one trial, when its processes die


class Trial:
    """Runs in a thread of its own; the agent's processes end with this thread's process."""

    def __init__(
        self,
        run: Run,
        study: Study,
        search: Search,
        tracking: StudyTracking,
        asked: AskedTrial,
        *,
        stopping: threading.Event,
    ) -> None:
        self._run, self._study, self._search, self._tracking = run, study, search, tracking
        self._asked, self._stopping = asked, stopping
        self._pruned = threading.Event()
        self._began_s = time.monotonic()
        self._epochs = 0
        self.facts = TrialFacts(number=asked.number, state="running", values=asked.values)

    def prepare(self) -> PipelineSpec | None:
        """The pipeline of the trial, and its work key in `facts`; None when the values do not fit together."""
        try:
            spec = self._study.spec_of(self._run, self._asked.values)
        except ConfigurationError as error:
            self.facts = replace(self.facts, state="infeasible", reason=str(error))
            return None
        self.facts = replace(self.facts, work_key=self._study.work_key(self._run, spec))
        return spec

    def train(self, spec: PipelineSpec, environment: Mapping[str, str]) -> TrialFacts | None:
        """How it ended; None when it was stopped with the study, to go on another time."""
        shown = self._tracking.begin(self._asked.number, self._asked.values)
        try:
            earlier = find_result(self._run.adapters.store, self.facts.work_key)
            if earlier is not None:
                self._replay(earlier, shown, epochs=spec.train.epochs)
            result = earlier or self._attempts(spec, environment, shown)
        except AbandonedError:
            result = None
            if not self._pruned.is_set():
                self._tracking.leave(self._asked.number, self._asked.values)
                return None
        except (StorageError, SecurityError):
            raise  # the study cannot go on without the store, nor with rows that are not its own
        except RatchetError as error:
            theirs = isinstance(error, InfrastructureError | StaleAttemptError)  # not the configuration's fault
            return self._ended("failed" if theirs else "infeasible", str(error))
        finally:
            shown.close()
        if self._pruned.is_set():  # also when it had ended meanwhile: what follows must not depend on the moment
            ended = self._ended("pruned", f"worse than the others after epoch {self._epochs}")
        else:
            assert result is not None
            ended = self._scored(result, reused=earlier is not None and not self._asked.resumed)
        drop_checkpoints(self._run.adapters.store, self.facts.work_key)
        return ended

    def _attempts(self, spec: PipelineSpec, environment: Mapping[str, str], shown: TrialRun) -> TrainResult:
        """Train, and once more when the processes die. Raises the last error."""
        store, adapters = self._run.adapters.store, self._run.adapters
        while True:
            attempt = take_claim(
                store,
                self.facts.work_key,
                parent_version=self._study.parent_version,
                owner=f"{self._run.actor}/{self._run.run_id}/trial-{self._asked.number}",
                now_s=time.time(),
                run=self._run.run_id,
                refers=(self._study.rows.snapshot_id, self._study.rows.id),
            ).epoch
            scratch = self._run.scratch / f"trial-{self._asked.number:04d}-{attempt}"
            job = TrainJob(
                work_key=self.facts.work_key,
                epoch=attempt,
                dataset_id=self._study.rows.id,
                workload=with_fitted(spec.workload, self._run.fitted),
                train=spec.train,
                logged_weight=logged_weight(spec.source.inference_log),
                processes=self._study.slots.processes,
                scratch=str(scratch),
                parent_weights_key=self._study.parent_weights_key,
                parent_weights_sha256=self._study.parent_weights_sha256,
                parent_classes=self._study.parent_classes,
                parent_columns=self._study.parent_columns,
                parent_example=self._study.parent_example,
                search=True,
            )
            try:
                return adapters.launcher.train(
                    job,
                    on_event=lambda event: self._on_event(event, shown, epochs=spec.train.epochs),
                    abandoned=lambda: self._pruned.is_set() or self._stopping.is_set(),
                    environment=environment,
                )
            except InfrastructureError:
                if len(read_claims(store, self.facts.work_key)) >= MOST_ATTEMPTS:
                    raise
            finally:
                shutil.rmtree(scratch, ignore_errors=True)

    def _on_event(self, event: dict[str, Any], shown: TrialRun, *, epochs: int) -> None:
        """An epoch goes to MLflow and to the pruner; what comes after its verdict is not listened to."""
        if event["event"] != "epoch" or self._pruned.is_set():
            return
        shown.epoch(event)
        self._epochs = int(event["epoch"])
        value = event.get(f"validation_{self._study.metric.name}")
        if value is None or not math.isfinite(value):
            return
        last = self._epochs >= epochs
        if self._search.report(self._asked.number, epoch=self._epochs, value=float(value), last=last):
            fault_point("trial.pruned")
            self._pruned.set()

    def _replay(self, earlier: TrainResult, shown: TrialRun, *, epochs: int) -> None:
        """What has been trained is told again. By an earlier study: it costs nothing, so nothing is pruned. By this
        one, before it was killed: the pruner says what it would have said."""
        for entry in earlier.history:
            self._on_event({"event": "epoch", **entry}, shown, epochs=epochs if self._asked.resumed else 0)

    def _scored(self, result: TrainResult, *, reused: bool) -> TrialFacts:
        """The metric of the weights that would be published, over the scoring rows."""
        assert result.rows_key is not None
        estimate = self._study.metric.estimate(load_rows(self._run.adapters.store, result.rows_key))
        if not math.isfinite(estimate.value):
            return self._ended("infeasible", estimate.reason)
        return replace(
            self._ended("complete", ""),
            value=estimate.value,
            rows_key=result.rows_key,
            weights_sha256=result.weights_sha256,
            reused=reused,
        )

    def _ended(self, state: Any, reason: str) -> TrialFacts:
        return replace(self.facts, state=state, reason=reason, seconds=time.monotonic() - self._began_s)
