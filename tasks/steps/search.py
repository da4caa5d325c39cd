"""Search: trials side by side until the budget is used up, the space is, or somebody says stop."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Literal

from mlratchet.infra.machine.hardware import check_hardware
from mlratchet.infra.machine.scratch import is_gone
from mlratchet.infra.search.journal import BucketJournal
from mlratchet.infra.search.study import AskedTrial, Search
from mlratchet.models.errors import InfrastructureError
from mlratchet.models.fault_points import fault_point
from mlratchet.models.identity.claim import take_claim
from mlratchet.models.identity.lease import wait_until_free
from mlratchet.models.tuning.study import COUNTED, TrialFacts, best_of
from mlratchet.tasks.showing.mlflow_study import StudyTracking
from mlratchet.tasks.showing.prefect_page import Progress
from mlratchet.tasks.step import step
from mlratchet.tasks.steps.study import Study
from mlratchet.tasks.steps.trial import Trial
from mlratchet.tasks.wiring import Run

logger = logging.getLogger(__name__)
POLL_S = 0.2  # seconds between two looks at the trials
MOST_REPEATS = 50  # draws in a row that were there already: the space is used up
MOST_FAILURES = 3  # trials in a row that failed: it is not the configuration

Stop = Literal["trials", "timeout", "exhausted", "interrupted"]
Listener = Callable[[list[TrialFacts], TrialFacts | None, int], None]  # all so far, the one that ended, of how many


@dataclass(frozen=True, kw_only=True, eq=False)
class Searched:
    """What the study knows now, and why it stopped."""

    trials: list[TrialFacts]
    importances: dict[str, float]
    stopped: Stop
    mlflow_url: str | None
    tracking: StudyTracking


@step("Search", run_name="Search {run.spec.name}")
def search(run: Run, study: Study, listener: Listener | None = None) -> Searched:
    """Run the study, or go on with it. Ctrl-C ends the trials at once and keeps the study."""
    store = run.adapters.store
    wait_until_free(store, study.id, run=run.run_id, is_gone=is_gone)
    claim = take_claim(
        store,
        study.id,
        parent_version=study.parent_version,
        owner=f"{run.actor}/{run.run_id}",
        now_s=time.time(),
        run=run.run_id,
        refers=(study.rows.snapshot_id, study.rows.id),
    )
    journal = BucketJournal(store, study.id, epoch=claim.epoch)
    tracking = StudyTracking(run, study)
    optuna = Search(
        journal,
        study.tune,
        higher_is_better=study.higher_is_better,
        baseline=study.baseline,
        epochs=run.spec.train.epochs,
    )
    check_hardware(run.adapters.settings.home, store)
    progress = Progress("tuning-progress", f"Trials of {run.spec.name}")

    def tell(trials: list[TrialFacts], ended: TrialFacts | None) -> None:
        progress.report(used(trials), study.tune.trials)
        if listener is not None:
            listener(trials, ended, study.tune.trials)

    stopped = Pool(run, study, optuna, tracking, tell=tell).run()
    return Searched(
        trials=optuna.trials(),
        importances=optuna.importances(),
        stopped=stopped,
        mlflow_url=tracking.url(),
        tracking=tracking,
    )


def used(trials: list[TrialFacts]) -> int:
    """Trials that count against the budget."""
    return sum(trial.state in COUNTED for trial in trials)


class Pool:
    """Trials under way. Asks and tells in the thread that runs it; trains in others."""

    def __init__(
        self,
        run: Run,
        study: Study,
        optuna: Search,
        tracking: StudyTracking,
        *,
        tell: Callable[[list[TrialFacts], TrialFacts | None], None],
    ) -> None:
        self._run, self._study, self._search, self._tracking = run, study, optuna, tracking
        self._tell = tell
        self._stopping = threading.Event()
        self._free = list(range(study.slots.count))
        self._running: dict[Future[TrialFacts | None], tuple[int, str]] = {}  # -> slot, work key
        self._known = {trial.work_key: trial.number for trial in optuna.trials() if trial.state == "complete"}
        self._left: list[AskedTrial] = optuna.left()
        self._repeats = self._failures = 0
        timeout_s = study.tune.timeout_seconds
        self._deadline = time.monotonic() + timeout_s if timeout_s is not None else None

    def run(self) -> Stop:
        """To the end of the budget."""
        self._tell(self._search.trials(), None)
        with ThreadPoolExecutor(self._study.slots.count, thread_name_prefix="trial") as threads:
            try:
                return self._until_done(threads)
            except KeyboardInterrupt:
                return "interrupted"
            finally:
                self._stopping.set()  # what still trains is ended at once, and goes on the next time

    def _until_done(self, threads: ThreadPoolExecutor) -> Stop:
        stop: Stop | None = None
        while True:
            while self._free and stop is None:
                stop = self._why_stop() or self._start_one(threads)
            if self._deadline is not None and time.monotonic() > self._deadline:
                return "timeout"
            if not self._running:
                assert stop is not None
                return stop
            done, _ = wait(self._running, timeout=POLL_S, return_when=FIRST_COMPLETED)
            for future in done:
                slot, _ = self._running.pop(future)
                self._free.append(slot)
                ended = future.result()
                assert ended is not None  # it stops with the study alone
                self._end(ended)
                stop = None if stop == "trials" else stop  # a repeated draw may have taken its place

    def _why_stop(self) -> Stop | None:
        trials = self._search.trials()
        if not self._left and used(trials) + len(self._running) >= self._study.tune.trials:
            return "trials"
        return "exhausted" if self._repeats >= MOST_REPEATS else None

    def _start_one(self, threads: ThreadPoolExecutor) -> Stop | None:
        asked = self._left.pop(0) if self._left else self._search.ask()
        if asked is None:
            return "exhausted"
        fault_point("search.asked")
        trial = Trial(self._run, self._study, self._search, self._tracking, asked, stopping=self._stopping)
        spec = trial.prepare()
        if spec is None:
            self._end(trial.facts)
            return None
        key = trial.facts.work_key
        twin = self._known.get(key)
        if twin is not None or key in {running for _, running in self._running.values()}:
            self._repeats += 1
            words = f"trial {twin} is the same training" if twin is not None else "the same training is under way"
            self._search.tell(replace(trial.facts, state="duplicate", reason=words))
            return None
        self._repeats = 0
        slot = self._free.pop(0)
        future = threads.submit(trial.train, spec, self._study.slots.environments[slot])
        self._running[future] = (slot, key)
        return None

    def _end(self, ended: TrialFacts) -> None:
        self._search.tell(ended)
        fault_point("search.told")
        if ended.state == "complete":
            self._known[ended.work_key] = ended.number
        self._failures = self._failures + 1 if ended.state == "failed" else 0
        self._tracking.end(ended)
        trials = self._search.trials()
        best = best_of(trials, higher_is_better=self._study.higher_is_better)
        logger.info(
            "trial %d %s%s; best so far: trial %s", ended.number, ended.state,
            f" {self._study.metric.name} {ended.value:.4f}" if ended.value is not None else f" ({ended.reason})",
            f"{best.number} {best.value:.4f}" if best is not None and best.value is not None else "none",
        )  # fmt: skip
        self._tell(trials, ended)
        if self._failures >= MOST_FAILURES:
            raise InfrastructureError(
                f"{self._failures} trials in a row failed, the last one: {ended.reason}; the study is kept and goes on "
                "with the same command"
            )
