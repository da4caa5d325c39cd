"""What a first model has to beat: the best constant answer, and a linear model that is trained here, out of sample."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mlratchet.models.evaluation.statistics import detectable_difference
from mlratchet.models.gates.pilot import TYPICAL_DISAGREEMENT

MOST_ROWS = 5_000  # that the linear model is trained on
FOLDS = 3
SURE = 2.5  # standard deviations of a metric on test rows by which two answers differ for good
UNBALANCED = 0.8  # share of the most frequent class from which accuracy says little


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A metric, what costs nothing to reach, what a linear model reaches, and the floor that is proposed."""

    metric: str
    trivial: float
    linear: float
    floor: float

    def words(self) -> str:
        """Where the floor comes from."""
        if math.isnan(self.linear):
            return f"a constant answer has {self.trivial:.3g}, and a quarter of what it lacks"
        if not self.linear > self.trivial:
            return f"a constant answer has {self.trivial:.3g}, and a linear model was no better: is there a signal?"
        return f"a constant answer has {self.trivial:.3g}, a linear model {self.linear:.3g}"

    def notes(self) -> list[str]:
        """What a person should know of it first."""
        if math.isnan(self.linear) or self.linear > self.trivial:
            return []
        reached = f"{self.metric} {self.linear:.3g}, a constant answer has {self.trivial:.3g}"
        return [f"a linear model learnt nothing ({reached}): what passes the floor of {self.floor:g} may know nothing"]


def bar_of_classes(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], *, test_rows: int) -> Bar:
    """`x` (N, F) numbers, `y` (N,) names of classes."""
    counts = Counter(y.tolist())
    share = max(counts.values()) / len(y)
    answers = _linear_classes(x, y)
    if share <= UNBALANCED:
        linear = answers.reached("accuracy") if answers else math.nan
        told = linear - share > SURE * _spread(linear, test_rows)
        if told or len(counts) != 2:
            return _bar("accuracy", share, linear, spread=_spread(linear, test_rows))
    if len(counts) == 2:
        metric, trivial = "roc_auc", 0.5
    else:
        metric, trivial = "f1_macro", 2 * share / (1 + share) / len(counts)
    linear = answers.reached(metric) if answers else math.nan
    return _bar(metric, trivial, linear, spread=_spread(linear, test_rows))


def bar_of_label(x: np.ndarray[Any, Any] | None, y: np.ndarray[Any, Any], *, metric: str, test_rows: int) -> Bar:
    """Of one of several labels: `y` (N,) bool; `test_rows`: that have it, or that have it not, the fewer of them."""
    answers = _linear_classes(x, y) if x is not None and len(set(y.tolist())) == 2 else None
    linear = answers.reached("roc_auc") if answers else math.nan
    return _bar(metric, 0.5, linear, spread=_spread(linear, test_rows))


def bar_of_shares(classes: Mapping[str, int]) -> Bar:
    """Of what no linear model is given. `classes`: rows by class."""
    share = max(classes.values()) / sum(classes.values())
    return Bar(metric="accuracy", trivial=share, linear=math.nan, floor=round(share + (1 - share) / 4, 2))


def _spread(share: float, test_rows: int) -> float:
    """Standard deviation of a share of test rows; of NaN the largest."""
    share = share if math.isfinite(share) else 0.5
    return math.sqrt(max(share * (1 - share), 0.01) / max(test_rows, 1))


def bar_of_numbers(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], *, test_rows: int) -> Bar:
    """`x` (N, F), `y` (N,)."""
    return _bar("r2", 0.0, _linear_numbers(x, y), spread=1.0 / math.sqrt(max(test_rows, 1)))


def _bar(metric: str, trivial: float, linear: float, *, spread: float) -> Bar:
    """Half of the way from the constant answer to the linear model, less what few test rows make of chance."""
    if not math.isfinite(linear):
        linear = trivial
    halfway = trivial + (linear - trivial) / 2
    floor = math.floor(100 * max(min(halfway, linear - SURE * spread), trivial if linear > trivial else halfway)) / 100
    return Bar(metric=metric, trivial=trivial, linear=linear, floor=max(floor, 0.0 if metric == "r2" else 0.01))


@dataclass(frozen=True, kw_only=True)
class _Answers:
    """Of a linear model, each from a fold that it was not trained on."""

    y: np.ndarray[Any, Any]  # (N,)
    guessed: np.ndarray[Any, Any]  # (N,)
    scores: np.ndarray[Any, Any]  # (N,) of the second class

    def reached(self, metric: str) -> float:
        """NaN where there is nothing to compare."""
        from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

        if metric == "roc_auc":
            return float(roc_auc_score(self.y, self.scores)) if len(set(self.y.tolist())) == 2 else math.nan
        if metric == "accuracy":
            return float(accuracy_score(self.y, self.guessed))
        return float(f1_score(self.y, self.guessed, average="macro"))


def _linear_classes(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> _Answers | None:
    """None where a fold holds one class alone."""
    from sklearn.linear_model import LogisticRegression

    rows = some_of(len(y))
    guessed, scores = np.empty(len(rows), dtype=y.dtype), np.zeros(len(rows))
    x, y = x[rows], y[rows]
    for train, test in _folds(len(rows)):
        if len(set(y[train].tolist())) < 2:
            return None
        model = _fitted(LogisticRegression(max_iter=200), x[train], y[train])
        guessed[test] = model.predict(x[test])
        scores[test] = model.predict_proba(x[test])[:, 1]
    return _Answers(y=y, guessed=guessed, scores=scores)


def _linear_numbers(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> float:
    from sklearn.linear_model import Ridge

    rows = some_of(len(y))
    x, y = x[rows], y[rows]
    guessed = np.zeros(len(rows))
    for train, test in _folds(len(rows)):
        guessed[test] = _fitted(Ridge(), x[train], y[train]).predict(x[test])
    spread = float(((y - y.mean()) ** 2).sum())
    return 1 - float(((y - guessed) ** 2).sum()) / spread if spread else math.nan


def guessed_by_query(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], query: Sequence[str]) -> np.ndarray[Any, Any]:
    """(N,) of a linear model that was trained on other queries."""
    from sklearn.linear_model import Ridge

    _, place = np.unique(np.asarray(query), return_inverse=True)
    fold = np.random.default_rng(0).permutation(place.max() + 1)[place] % FOLDS
    guessed = np.zeros(len(y))
    for one in range(FOLDS):
        if (fold == one).any() and (fold != one).any():
            guessed[fold == one] = _fitted(Ridge(), x[fold != one], y[fold != one]).predict(x[fold == one])
    return guessed


def _fitted(model: Any, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it did not converge: it is a bar, not a model
        return make_pipeline(StandardScaler(), model).fit(x, y)


def some_of(rows: int) -> np.ndarray[Any, Any]:
    """Places of the rows that a linear model is trained on, at most `MOST_ROWS`, in an order of chance."""
    return np.random.default_rng(0).permutation(rows)[:MOST_ROWS]


def _folds(rows: int) -> list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    places = np.arange(rows)
    return [(places[places % FOLDS != fold], places[places % FOLDS == fold]) for fold in range(FOLDS)]


def margin_of(test_rows: int) -> float:
    """The smallest margin that an equally good model passes four times in five, where two trainings differ on 4 % of
    the test rows; at least a hundredth."""
    found = detectable_difference(math.sqrt(TYPICAL_DISAGREEMENT), measured_n=1, n=max(test_rows, 1), confidence=0.95)
    return max(0.01, math.ceil(found * 200) / 200)
