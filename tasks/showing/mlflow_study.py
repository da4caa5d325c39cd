"""The study in MLflow: a parent run, and a run below it for every trial. A projection of the journal: it never is the
reason that a trial fails, and what an outage left out is written at the end, or by the next run of the study."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlratchet.infra.tracking.spool import MetricSpool
from mlratchet.models.errors import InfrastructureError
from mlratchet.models.identity.canonical import digest
from mlratchet.models.tuning.space import Values
from mlratchet.models.tuning.study import TrialFacts
from mlratchet.tasks.showing.training_events import points
from mlratchet.tasks.steps.study import Study
from mlratchet.tasks.wiring import Run

logger = logging.getLogger(__name__)
PARENT = "mlflow.parentRunId"  # by this tag MLflow nests runs
DRAIN_S = 5.0  # seconds at the end of a trial in which MLflow may catch up
STATUS = {"complete": "FINISHED", "pruned": "KILLED", "duplicate": "FINISHED"}


class TrialRun:
    """One trial's run while it trains. Every epoch goes through a spool on disk."""

    def __init__(self, spool: MetricSpool | None, logged: set[int]) -> None:
        self._spool, self._logged = spool, logged

    def epoch(self, event: dict[str, Any]) -> None:
        """Metrics of one epoch, once."""
        epoch = int(event["epoch"])
        if self._spool is not None and epoch not in self._logged:
            self._logged.add(epoch)
            self._spool.add(points(event, "", epoch))

    def close(self) -> None:
        """Send what waits."""
        if self._spool is not None:
            self._spool.close(DRAIN_S)


class StudyTracking:
    """Everything that MLflow shows of a study."""

    def __init__(self, run: Run, study: Study) -> None:
        self._run, self._study = run, study
        self._tracker = run.adapters.tracker
        self._experiment = f"{run.spec.name}-tuning"
        self.parent: str | None = None
        self._missed: set[int] = set()  # trials that MLflow does not know the end of
        self._left: set[str] = set()  # runs that a killed process of this study left open, by work key
        self._quietly("open the study", self._open)
        self._quietly("find open trials", self._find_left)

    def _find_left(self) -> None:
        self._left = {run.work_key for run in self._tracker.running_runs()}

    def _work_key(self, number: int) -> str:
        return digest({"study": self._study.id, "trial": number})

    def _quietly(self, what: str, call: Callable[[], None]) -> bool:
        try:
            call()
        except InfrastructureError as error:
            logger.warning("%s in MLflow: %s; the study goes on", what, error)
            return False
        return True

    def _open(self) -> None:
        study, spec = self._study, self._run.spec
        self.parent = self._tracker.open_run(
            self._experiment,
            work_key=study.id,
            flow_run=self._run.run_id,
            name=f"{spec.name} study {study.id[:8]}",
            tags={"ratchet.pipeline": spec.name, "ratchet.study": study.id},
        )
        space = {f"space.{key}": str(dimension.model_dump(mode="json")) for key, dimension in study.tune.space.items()}
        about = {
            "metric": study.metric.name,
            "direction": study.metric.direction,
            "sampler": study.tune.sampler,
            "pruning": study.tune.pruning.kind,
            "seed": str(study.tune.seed),
            "rows": study.tune.rows,
            "training_rows": str(study.rows.rows["train"]),
            "scoring_rows": str(study.rows.rows["validation"]),
        }
        self._tracker.log_params(self.parent, {**about, **space})

    def _open_trial(self, number: int, values: Values) -> str:
        if self.parent is None:
            self._open()
        assert self.parent is not None
        identity = self._tracker.open_run(
            self._experiment,
            work_key=self._work_key(number),
            flow_run=self._run.run_id,
            name=f"trial {number:03d}",
            tags={PARENT: self.parent, "ratchet.pipeline": self._run.spec.name, "ratchet.study": self._study.id},
        )
        self._tracker.log_params(identity, {key: str(value) for key, value in values.items()})
        return identity

    def begin(self, number: int, values: Values) -> TrialRun:
        """A trial starts, or goes on."""
        try:
            identity = self._open_trial(number, values)
            logged = self._tracker.logged_steps(identity, "train_loss")
        except InfrastructureError as error:
            logger.warning("trial %d in MLflow: %s; the trial goes on", number, error)
            return TrialRun(None, set())
        return TrialRun(MetricSpool(self._tracker, identity, self._run.adapters.settings.home / "spool"), logged)

    def end(self, trial: TrialFacts) -> None:
        """A trial has ended."""

        def write() -> None:
            identity = self._open_trial(trial.number, trial.values)
            about = {"trial.state": trial.state, "trial.reason": trial.reason, "trial.work_key": trial.work_key}
            self._tracker.log_params(identity, {key: value for key, value in about.items() if value})
            known = self._tracker.logged_steps(identity, "train_loss")
            if not known and trial.curve:  # trained while MLflow was away, or by an earlier study
                name = f"validation_{self._study.metric.name}"
                self._tracker.log_metrics(identity, [(name, value, epoch) for epoch, value in trial.curve])
            if trial.value is not None:
                self._tracker.log_metrics(identity, [(f"score_{self._study.metric.name}", trial.value, 0)])
            self._tracker.end_run(identity, status=STATUS.get(trial.state, "FAILED"))

        if self._quietly(f"end trial {trial.number}", write):
            self._left.discard(self._work_key(trial.number))
        else:
            self._missed.add(trial.number)

    def settle(self, trial: TrialFacts) -> None:
        """At the end of a study: once more what an outage left out, or a kill between a trial's end and its run's."""
        if trial.number in self._missed or self._work_key(trial.number) in self._left:
            self._missed.discard(trial.number)
            self.end(trial)

    def leave(self, number: int, values: Values) -> None:
        """A trial was stopped with the study; `begin` opens its run again."""
        self._quietly(
            f"leave trial {number}", lambda: self._tracker.end_run(self._open_trial(number, values), status="KILLED")
        )

    def close(self, *, best: list[tuple[int, float]], files: Mapping[str, Path], finished: bool) -> None:
        """The best so far after each trial, pictures and tables; then the parent's end."""

        def write() -> None:
            if self.parent is None:
                self._open()
            assert self.parent is not None
            name = f"best_{self._study.metric.name}"
            logged = self._tracker.logged_steps(self.parent, name)
            new = [(name, value, number) for number, value in best if number not in logged]
            if new:
                self._tracker.log_metrics(self.parent, new)
            self._tracker.log_files(self.parent, files)
            self._tracker.end_run(self.parent, status="FINISHED" if finished else "KILLED")

        self._quietly("close the study", write)

    def url(self) -> str | None:
        """Where a person looks at it."""
        try:
            return self._tracker.run_url(self.parent) if self.parent is not None else None
        except InfrastructureError:
            return None
