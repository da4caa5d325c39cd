"""The study: Optuna over the journal in the bucket, told and asked by number.

Two things make a killed study go on as if nothing had happened. The random numbers of a trial are a pure function of
(seed, number), never of how often the process was started. And a trial that was under way is not repeated under another
number: it is taken up again where it was, its missing values drawn as they would have been.
"""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from mlratchet.infra.search.journal import BucketJournal
from mlratchet.models.pipeline.tune import Choices, Dimension, FloatRange, HyperbandPruning, MedianPruning, TuneConfig
from mlratchet.models.tuning.space import Values
from mlratchet.models.tuning.study import BASELINE, State, TrialFacts
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

FACTS = "ratchet"  # user attribute that holds how a trial ended
TOLD: dict[State, TrialState] = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "infeasible": TrialState.PRUNED,  # without a value: the sampler takes it for the worst and stays away
    "failed": TrialState.FAIL,  # the sampler does not look at these
    "duplicate": TrialState.FAIL,
}


@dataclass(frozen=True, kw_only=True)
class AskedTrial:
    """A trial to run."""

    number: int
    values: Values
    resumed: bool = False  # an earlier process had it under way


class Search:
    """One study. `ask` and `tell` from one thread, `report` from any.

    Args:
        journal: Where it is kept.
        tune: Space, sampler, pruner.
        higher_is_better: Direction of the metric.
        baseline: The file's own values: trial 0.
        epochs: Of a training; for `hyperband`.
    """

    def __init__(
        self, journal: BucketJournal, tune: TuneConfig, *, higher_is_better: bool, baseline: Values, epochs: int
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._tune, self._baseline = tune, baseline
        self._axes = {axis.name: axis for axis in tune.axes()}
        self._study = optuna.create_study(
            study_name="study",
            storage=optuna.storages.JournalStorage(journal),
            direction="maximize" if higher_is_better else "minimize",
            pruner=pruner(tune, epochs),
            load_if_exists=True,
        )
        self._open: dict[int, optuna.trial.Trial] = {}
        self._lock = threading.Lock()

    def trials(self) -> list[TrialFacts]:
        """Every trial so far, by number."""
        return [self._facts(trial) for trial in self._study.get_trials(deepcopy=False) if trial.state.name != "WAITING"]

    def _facts(self, trial: FrozenTrial) -> TrialFacts:
        ended = trial.state.is_finished()
        known = dict(trial.user_attrs.get(FACTS, {})) if ended else {}
        state: State = known.pop("state", "failed") if ended else "running"
        return TrialFacts(
            number=trial.number,
            state=state,
            values=self._decoded(trial.params),
            value=trial.value if state == "complete" else None,
            curve=tuple(sorted(trial.intermediate_values.items())),
            **known,
        )

    def left(self) -> list[AskedTrial]:
        """Trials that an earlier process had under way."""
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        found = [t for t in running if t.number not in self._open]
        return [self._begin(optuna.trial.Trial(self._study, t._trial_id), resumed=True) for t in found]

    def ask(self) -> AskedTrial | None:
        """The next trial; None when a grid has no more points."""
        existing = self._study.get_trials(deepcopy=False)
        if not any(trial.state == TrialState.WAITING for trial in existing):
            if not existing:
                self._study.enqueue_trial(self._encoded(self._baseline))
            elif self._tune.sampler == "grid":
                point = self._point(len(existing) - 1)
                if point is None:
                    return None
                self._study.enqueue_trial(self._encoded(point))
        return self._begin(self._study.ask())

    def _begin(self, trial: optuna.trial.Trial, *, resumed: bool = False) -> AskedTrial:
        """Draw every value, with this trial's own random numbers."""
        self._study.sampler = sampler(self._tune, trial.number)
        values: Values = {}
        for name, axis in self._axes.items():
            if axis.applies(values):
                values[axis.key] = decode(axis.range, trial._suggest(name, distribution(axis.range)))
        with self._lock:
            self._open[trial.number] = trial
        return AskedTrial(number=trial.number, values=values, resumed=resumed)

    def _point(self, place: int) -> Values | None:
        """Of the grid, in an order shuffled by the seed, so that a small budget sees all of it."""
        points = list(self._tune.points())
        if place >= len(points):
            return None
        return dict(points[np.random.default_rng(self._tune.seed).permutation(len(points))[place]])

    def report(self, number: int, *, epoch: int, value: float, last: bool) -> bool:
        """The metric after an epoch; True when the trial should end here. The baseline, and a last epoch, never do."""
        with self._lock:
            trial = self._open[number]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a resumed training tells its epochs again: the first report stands
            trial.report(value, epoch)
        return number != BASELINE and not last and trial.should_prune()

    def tell(self, trial: TrialFacts) -> None:
        """How a trial ended. The state is written last: it is what makes the rest count."""
        with self._lock:
            held = self._open.pop(trial.number)
        held.set_user_attr(
            FACTS,
            {
                "state": trial.state,
                "seconds": trial.seconds,
                "work_key": trial.work_key,
                "rows_key": trial.rows_key,
                "weights_sha256": trial.weights_sha256,
                "reason": trial.reason,
                "reused": trial.reused,
            },
        )
        values = trial.value if trial.state == "complete" else None
        self._study.tell(trial.number, values, state=TOLD[trial.state])

    def importances(self) -> dict[str, float]:
        """Share of the variance of the value that each key explains, by fANOVA (Hutter, Hoos, Leyton-Brown, ICML 2014);
        empty when the complete trials do not differ. Of what a model has alone nothing is said: not all trials have
        it."""
        complete = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(complete) < 3 or len({trial.value for trial in complete}) < 2:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self._tune.seed)
        found = optuna.importance.get_param_importances(self._study, evaluator=evaluator)
        return {key: float(share) for key, share in found.items()}

    def _encoded(self, values: Mapping[str, Any]) -> dict[str, Any]:
        applying = [axis for axis in self._axes.values() if axis.applies(values)]
        return {axis.name: encode(values[axis.key]) for axis in applying}

    def _decoded(self, drawn: Mapping[str, Any]) -> Values:
        axes = {name: self._axes[name] for name in drawn}
        return {axis.key: decode(axis.range, drawn[name]) for name, axis in axes.items()}


def distribution(dimension: Dimension) -> BaseDistribution:
    """Optuna's word for it."""
    if isinstance(dimension, Choices):
        return CategoricalDistribution([encode(choice) for choice in dimension.choices])
    if isinstance(dimension, FloatRange):
        return FloatDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)
    return IntDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)


def encode(value: Any) -> Any:
    """Optuna keeps scalars: a list becomes its JSON text."""
    return json.dumps(value) if isinstance(value, list) else value


def decode(dimension: Dimension, value: Any) -> Any:
    """The reverse of `encode`."""
    if isinstance(dimension, Choices):
        return next((choice for choice in dimension.choices if encode(choice) == value), value)
    return value


def sampler(tune: TuneConfig, number: int) -> optuna.samplers.BaseSampler:
    """Of one trial: seeded by (seed, number)."""
    seed = int(np.random.SeedSequence([tune.seed, number]).generate_state(1)[0])
    if tune.sampler == "tpe":
        return optuna.samplers.TPESampler(n_startup_trials=tune.startup_trials, seed=seed)
    return optuna.samplers.RandomSampler(seed=seed)


def pruner(tune: TuneConfig, epochs: int) -> optuna.pruners.BasePruner:
    """As declared."""
    kind = tune.pruning
    if isinstance(kind, MedianPruning):
        return optuna.pruners.MedianPruner(n_startup_trials=kind.startup_trials, n_warmup_steps=kind.warmup_epochs)
    if isinstance(kind, HyperbandPruning):
        return optuna.pruners.HyperbandPruner(
            min_resource=kind.minimum_epochs,
            max_resource=max(epochs, kind.minimum_epochs),
            reduction_factor=kind.reduction_factor,
        )
    return optuna.pruners.NopPruner()
