"""Every metric equals scikit-learn's on random and degenerate inputs; where scikit-learn has no value or differs on
purpose, ours is NaN with a reason."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlratchet.models.metrics.base import MetricValue, SumMetric
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.naming import compute_metrics, metrics_for
from mlratchet.models.sources.record import GROUP_COLUMN
from sklearn import metrics as sk

COARSE = st.sampled_from([-2.0, -1.0, 0.0, 1.0, 2.0])  # few values: ties and equal rows are the rule
SEEDS = st.integers(0, 10_000)


def rows_of(y: np.ndarray, output: np.ndarray, group: list[str] | None = None) -> RowOutputs:
    columns = {GROUP_COLUMN: group} if group else {}
    return RowOutputs(ids=[str(i) for i in range(len(y))], y=y, output=output, columns=columns)


def same(found: MetricValue, wanted: float, rel: float = 1e-9) -> None:
    if math.isnan(wanted):
        assert math.isnan(found.value)
        assert found.reason
    else:
        assert found.value == pytest.approx(wanted, rel=rel, abs=1e-9), found


@st.composite
def classified(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    classes = draw(st.integers(2, 4))
    n = draw(st.integers(1, 12))
    y = draw(st.lists(st.integers(0, classes - 1), min_size=n, max_size=n))
    output = draw(st.lists(st.lists(COARSE, min_size=classes, max_size=classes), min_size=n, max_size=n))
    return np.array(y), np.array(output, dtype=np.float32), classes


@settings(max_examples=60, deadline=None)
@given(case=classified())
def test_classification(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    y, output, classes = case
    names = tuple(f"c{i}" for i in range(classes))
    found = compute_metrics(rows_of(y, output), "classification", names)
    guess = output.argmax(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same(found["accuracy"], sk.accuracy_score(y, guess))
        occur = np.union1d(y, guess)
        for kind, score in (("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)):
            per_class = score(y, guess, labels=range(classes), average=None, zero_division=np.nan)
            for name, wanted in zip(names, per_class, strict=True):
                same(found[f"{kind}_class_{name}"], wanted)
            same(found[f"{kind}_micro"], score(y, guess, average="micro"))
            # scikit-learn leaves an undefined class out of a mean; here a class that occurs makes the mean undefined
            undefined = np.isnan(per_class[occur])
            macro = score(y, guess, average="macro", zero_division=np.nan)
            same(found[f"{kind}_macro"], math.nan if undefined.any() else macro)
            weighted = score(y, guess, average="weighted", zero_division=np.nan)
            same(found[f"{kind}_weighted"], math.nan if np.isnan(per_class[np.unique(y)]).any() else weighted)


@settings(max_examples=50, deadline=None)
@given(case=classified())
def test_probabilities(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    y, output, classes = case
    found = compute_metrics(rows_of(y, output), "classification", tuple(f"c{i}" for i in range(classes)))
    p = np.exp(output.astype(np.float64))
    p /= p.sum(1, keepdims=True)
    same(found["log_loss"], sk.log_loss(y, p, labels=range(classes)))
    same(found["brier"], sk.brier_score_loss(np.eye(classes)[y], p, scale_by_half=False))
    confidence, right = p.max(1), output.argmax(1) == y
    places = np.minimum((confidence * 15).astype(int), 14)
    by_hand = sum(abs((right[places == b] - confidence[places == b]).sum()) for b in set(places)) / len(y)
    same(found["ece"], by_hand)


@settings(max_examples=60, deadline=None)
@given(case=classified())
def test_curves(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    y, output, classes = case
    names = tuple(f"c{i}" for i in range(classes))
    found = compute_metrics(rows_of(y, output), "classification", names)
    p = np.exp(output.astype(np.float64))
    p /= p.sum(1, keepdims=True)
    for stem, score in (("roc_auc", sk.roc_auc_score), ("average_precision", sk.average_precision_score)):
        if classes == 2:
            wanted = score(y, (output[:, 1] - output[:, 0])) if len(set(y)) == 2 else math.nan
            if not (stem == "average_precision" and set(y) == {1}):  # no negative is needed for precision
                same(found[stem], wanted)
            continue
        values = []
        for index, name in enumerate(names):
            positive = y == index
            defined = positive.any() and (stem == "average_precision" or not positive.all())
            values.append(score(positive, np.round(p[:, index], 12)) if defined else math.nan)
            same(found[f"{stem}_class_{name}"], values[-1])
        same(found[f"{stem}_macro"], float(np.mean(values)))


@settings(max_examples=50, deadline=None)
@given(
    data=st.lists(
        st.tuples(st.lists(st.booleans(), min_size=3, max_size=3), st.lists(COARSE, min_size=3, max_size=3)),
        min_size=1,
        max_size=10,
    )
)
def test_multi_label(data: list[tuple[list[bool], list[float]]]) -> None:
    y = np.array([row[0] for row in data]).astype(np.float32)
    output = np.array([row[1] for row in data], dtype=np.float32)
    guess, label = (output > 0).astype(int), y.astype(int)
    names = ("a", "b", "c")
    found = compute_metrics(rows_of(y, output), "multi_label", names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same(found["subset_accuracy"], sk.accuracy_score(label, guess))
        same(found["hamming_loss"], sk.hamming_loss(label, guess))
        for kind, score in (("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)):
            per_label = score(label, guess, average=None, zero_division=np.nan)
            for name, wanted in zip(names, per_label, strict=True):
                same(found[f"{kind}_label_{name}"], wanted)
            same(found[f"{kind}_micro"], score(label, guess, average="micro", zero_division=np.nan))
            occurs = (label.sum(0) + guess.sum(0)) > 0
            macro = math.nan if not occurs.any() or np.isnan(per_label[occurs]).any() else per_label[occurs].mean()
            same(found[f"{kind}_macro"], macro)
        p = 1 / (1 + np.exp(-output.astype(np.float64)))
        same(found["brier"], float(((p - label) ** 2).mean()))
        same(found["log_loss"], float(-np.log(np.where(label, p, 1 - p)).mean()))


@settings(max_examples=50, deadline=None)
@given(
    y=st.lists(st.floats(-100, 100, width=32), min_size=2, max_size=15),
    noise=st.floats(0.0, 5.0),
    seed=SEEDS,
)
def test_regression(y: list[float], noise: float, seed: int) -> None:
    target = np.array(y, dtype=np.float32)
    output = target + np.random.default_rng(seed).normal(0, noise, len(y)).astype(np.float32)
    found = compute_metrics(rows_of(target, output), "regression", ())
    exact, guess = target.astype(np.float64), output.astype(np.float64)
    same(found["mse"], sk.mean_squared_error(exact, guess))
    same(found["rmse"], sk.root_mean_squared_error(exact, guess))
    same(found["mae"], sk.mean_absolute_error(exact, guess))
    constant = len(set(y)) == 1
    same(found["r2"], math.nan if constant else sk.r2_score(exact, guess), rel=1e-6)


@settings(max_examples=50, deadline=None)
@given(
    queries=st.lists(st.lists(st.tuples(st.integers(0, 3), COARSE), min_size=2, max_size=14), min_size=1, max_size=4)
)
def test_ranking(queries: list[list[tuple[int, float]]]) -> None:
    flat = [(str(q), r, s) for q, rows in enumerate(queries) for r, s in rows]
    y, score = np.array([r for _, r, _ in flat]), np.array([s for *_, s in flat], dtype=np.float32)
    order = np.random.default_rng(0).permutation(len(flat))  # rows of a query need not stand together
    made = rows_of(y[order], score[order], group=[flat[i][0] for i in order])
    found = compute_metrics(made, "ranking", ())
    relevant = [rows for rows in queries if any(r for r, _ in rows)]
    for k in (5, 10):
        wanted = [sk.ndcg_score([[r for r, _ in rows]], [[s for _, s in rows]], k=k) for rows in relevant]
        same(found[f"ndcg_at_{k}"], float(np.mean(wanted)) if wanted else math.nan)
        same(found[f"recall_at_{k}"], float(np.mean([expected_recall(rows, k) for rows in relevant] or [math.nan])))


def expected_recall(rows: list[tuple[int, float]], k: int) -> float:
    """Over random orders of equal scores, by hand."""
    hits = 0.0
    for relevance, score in rows:
        above = sum(s > score for _, s in rows)
        equal = sum(s == score for _, s in rows)
        hits += (relevance > 0) * min(max(k - above, 0), equal) / equal
    return hits / sum(r > 0 for r, _ in rows)


def test_a_ranking_without_queries_or_with_negative_relevance_is_undefined() -> None:
    y, score = np.array([1, 0, 2]), np.array([0.1, 0.2, 0.3], dtype=np.float32)
    found = compute_metrics(rows_of(y, score), "ranking", ())
    assert all(math.isnan(v.value) and "'@group'" in v.reason for v in found.values())
    found = compute_metrics(rows_of(y - 1, score, group=["a"] * 3), "ranking", ())
    assert all("negative" in v.reason for v in found.values())


@pytest.mark.parametrize("task", ["classification", "multi_label", "regression", "ranking"])
def test_the_influence_is_the_derivative_and_sums_to_nothing(task: str) -> None:
    rng = np.random.default_rng(0)
    n, names = 60, ("a", "b", "c")
    group = [str(i // 6) for i in range(n)]
    y = {
        "classification": rng.integers(0, 3, n), "multi_label": rng.integers(0, 2, (n, 3)),
        "regression": rng.normal(0, 1, n), "ranking": rng.integers(0, 3, n),
    }[task]  # fmt: skip
    output = rng.normal(0, 1, (n, 3) if task in ("classification", "multi_label") else n).astype(np.float32)
    made = rows_of(y, output, group=group)
    for name, metric in metrics_for(task, names).items():
        influence = metric.influence(made)
        assert abs(influence.mean()) < 1e-6, name
        units = [np.array([i]) for i in range(n)]
        if metric.group_column is not None:
            units = [np.flatnonzero(np.array(group) == g) for g in dict.fromkeys(group)]
        weights = np.ones((len(units), n))
        for row, unit in enumerate(units):
            weights[row, unit] += 1e-5
        moved = (metric.weighted(made, weights) - metric.value(made)) / 1e-5 * len(units)
        np.testing.assert_allclose(influence, moved, atol=2e-3, err_msg=name)
        if isinstance(metric, SumMetric):
            np.testing.assert_allclose(metric.from_sums(metric.features(made).sum(0)), metric.value(made), rtol=1e-9)


def test_every_metric_says_what_it_is() -> None:
    for task in ("classification", "multi_label", "regression", "ranking"):
        for name, metric in metrics_for(task, ("a", "b", "c")).items():
            assert metric.name == name
            assert metric.direction in ("higher", "lower")
            assert metric.unit
            assert metric.formula
            assert metric.source
            assert metric.span[0] < metric.span[1]
