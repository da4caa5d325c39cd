"""The method that fits each metric, what it states, and where it says that it cannot know."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlratchet.models.evaluation.slices import take_rows
from mlratchet.models.evaluation.statistics import (
    absolute_test,
    bounded_mean_sequence,
    clopper_pearson,
    detectable_difference,
    holm,
    interval_of,
    mcnemar,
    mean_sequence,
    paired_difference,
    paired_standard_error,
    paired_test,
    units_needed,
)
from mlratchet.models.evaluation.statistics import resampling as road
from mlratchet.models.evaluation.statistics.choose import confidence_of, confidence_of_difference
from mlratchet.models.evaluation.statistics.clustered import ClusteredPairs
from mlratchet.models.evaluation.statistics.exact_pairs import paired_share
from mlratchet.models.evaluation.statistics.proportions import ExactBinomial
from mlratchet.models.evaluation.statistics.quantity import Quantity
from mlratchet.models.metrics.edits import CharacterErrorRate
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.naming import metrics_for
from scipy import stats

NAMES = ("a", "b", "c")


def two_models(n: int, *, seed: int = 0, classes: int = 3, noise: float = 0.7) -> tuple[RowOutputs, RowOutputs]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    shared = rng.normal(0, 1, (n, classes))
    shared[np.arange(n), y] += 2
    columns = {"patient": [str(i // 5) for i in range(n)], "region": [("eu", "us")[i % 3 == 0] for i in range(n)]}
    made = [
        RowOutputs(
            ids=[str(i) for i in range(n)], y=y, columns=columns,
            output=(shared + noise * rng.normal(0, 1, shared.shape)).astype(np.float32),
        )
        for _ in range(2)
    ]  # fmt: skip
    return made[0], made[1]


METRICS = metrics_for("classification", NAMES)
BINARY = metrics_for("classification", ("no", "yes"))


@pytest.mark.parametrize(
    ("metric", "one", "two"),
    [
        ("accuracy", "Clopper-Pearson", "Tango"),
        ("recall_class_a", "Clopper-Pearson", "Tango"),
        ("precision_class_a", "Clopper-Pearson", "paired bootstrap, wider of percentile and BCa"),
        ("f1_macro", "BCa bootstrap", "paired bootstrap, wider of percentile and BCa"),
        ("log_loss", "BCa bootstrap", "paired bootstrap, wider of percentile and BCa"),
        ("roc_auc_macro", "DeLong (logit)", "DeLong (paired)"),
        ("average_precision_macro", "BCa bootstrap", "paired bootstrap, wider of percentile and BCa"),
    ],
)
def test_each_metric_names_the_method_that_fits_it_and_holds_its_estimate(metric: str, one: str, two: str) -> None:
    a, b = two_models(200)
    chosen = METRICS[metric]
    alone = interval_of(chosen, a, confidence=0.9, resamples=1000)
    paired = paired_difference(chosen, a, b, confidence=0.9, resamples=1000)
    assert alone.method.startswith(one)
    assert paired.method.startswith(two)
    value, other = chosen.estimate(a).value, chosen.estimate(b).value
    assert alone.low < value < alone.high
    assert paired.low < value - other < paired.high
    assert not alone.doubt
    assert not paired.doubt
    assert paired == paired_difference(chosen, a, b, confidence=0.9, resamples=1000)  # deterministic
    error = paired_standard_error(chosen, a, b)
    assert (paired.high - paired.low) / (2 * 1.645 * error) == pytest.approx(1, abs=0.2)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), metric=st.sampled_from(["accuracy", "f1_macro", "log_loss", "roc_auc_macro"]))
def test_bounds_and_p_values_are_inverses(seed: int, metric: str) -> None:
    a, b = two_models(80, seed=seed)
    for bounds in (
        confidence_of(METRICS[metric], a, resamples=1000),
        confidence_of_difference(METRICS[metric], a, b, resamples=1000),
    ):
        for alpha in (0.05, 0.2):
            assert bounds.p_greater(bounds.low(alpha)) == pytest.approx(alpha, abs=0.012)
            assert bounds.p_less(bounds.high(alpha)) == pytest.approx(alpha, abs=0.012)
        assert bounds.low(0.01) <= bounds.low(0.1) < bounds.high(0.1) <= bounds.high(0.01)


def test_tests_follow_the_direction_of_the_metric() -> None:
    good, bad = two_models(400, noise=0.3)[0], two_models(400, noise=3.0)[1]
    for metric, bound, margin in (("accuracy", 0.5, 0.01), ("log_loss", 2.0, 0.01)):
        chosen = METRICS[metric]
        assert absolute_test(chosen, good, bound=bound, resamples=1000).p_value < 0.01
        assert paired_test(chosen, good, bad, margin=margin, resamples=1000).p_value < 0.01
        assert paired_test(chosen, bad, good, margin=margin, resamples=1000).p_value > 0.9


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (3, 17), (950, 1000)])
def test_clopper_pearson_agrees_with_scipy(k: int, n: int) -> None:
    theirs = stats.binomtest(k, n).proportion_ci(0.9, method="exact")
    ours = clopper_pearson(k, n, 0.9)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (3, 9), (9, 3), (20, 20), (1, 0)])
def test_mcnemar_is_the_binomial_test(gained: int, lost: int) -> None:
    exact = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert mcnemar(gained, lost) == pytest.approx(exact)
    assert mcnemar(gained, lost, mid_p=True) <= exact + 1e-12


def test_delong_of_a_small_table_is_what_the_paper_computes_by_hand() -> None:
    score = np.array([0.1, 0.4, 0.35, 0.8, 0.7, 0.4])
    y = np.array([0, 0, 1, 1, 1, 0])
    rows = RowOutputs(ids=list("abcdef"), y=y, output=np.stack([np.zeros(6), score], axis=1).astype(np.float32))
    x, z = score[y == 1].astype(np.float32), score[y == 0].astype(np.float32)
    kernel = (x[:, None] > z) + 0.5 * (x[:, None] == z)
    variance = kernel.mean(1).var(ddof=1) / len(x) + kernel.mean(0).var(ddof=1) / len(z)
    from mlratchet.models.evaluation.statistics.delong import delong_error

    assert BINARY["roc_auc"].estimate(rows).value == pytest.approx(kernel.mean())
    assert delong_error(Quantity(metric=BINARY["roc_auc"], sides=(rows,))) == pytest.approx(math.sqrt(variance))


@pytest.mark.parametrize(("right", "wrong"), [(15, 15), (3, 9), (1, 40)])
def test_a_bound_by_placements_that_are_0_or_1_is_the_exact_one_of_a_share(right: int, wrong: int) -> None:
    from mlratchet.models.evaluation.statistics.placements import Placements

    side = Placements(np.array([0.0, 1.0]), np.array([float(wrong), float(right)]))
    for alpha in (0.01, 0.05, 0.2):
        assert side.low(alpha) == pytest.approx(stats.beta.ppf(alpha, right, wrong + 1), abs=1e-3)


@given(
    counts=st.dictionaries(st.integers(0, 200).map(lambda k: k / 200), st.integers(1, 2000), min_size=1, max_size=8),
    exponent=st.floats(-9, -0.302),
)
@settings(max_examples=100, deadline=None)
def test_a_bound_by_placements_is_found_whatever_they_are(counts: dict[float, int], exponent: float) -> None:
    from mlratchet.models.evaluation.statistics.placements import LEAST_ALPHA, Placements

    side = Placements(np.array(sorted(counts)), np.array([float(counts[value]) for value in sorted(counts)]))
    for one in (side, side.mirrored()):
        least, low, at_half = one.low(LEAST_ALPHA), one.low(10**exponent), one.low(0.5)
        assert 0 <= least <= low + 1e-8 <= at_half + 2e-8 <= 1 + 2e-8


def few_positive(lowest: float) -> RowOutputs:
    """15 of 400 rows are positive and lie above every other, but for one."""
    y = (np.arange(400) < 15).astype(np.int64)
    score = np.where(y == 1, 9.0 + np.arange(400) / 400, np.random.default_rng(0).normal(size=400))
    score[0] = lowest
    return RowOutputs(ids=[""] * 400, y=y, output=np.stack([np.zeros(400), score], axis=1).astype(np.float32))


def test_one_area_of_few_rows_has_bounds_that_allow_for_a_row_lower_than_any_that_was_seen() -> None:
    made = confidence_of(BINARY["roc_auc"], few_positive(1.5))
    assert made.method == "DeLong (logit), or placements with one row more at chance (Gaffke) where that is wider"
    assert made.low(0.05) < 0.92 < BINARY["roc_auc"].value(few_positive(1.5)) < made.high(0.05) <= 1.0
    for alpha in (0.2, 0.05, 0.01):
        assert made.p_greater(made.low(alpha)) == pytest.approx(alpha, abs=1e-6)
    assert made.p_greater(1.0) >= 0.5 >= made.p_greater(0.0)


def test_one_area_of_few_rows_of_which_one_lies_amid_the_others_is_surely_below_nearly_1() -> None:
    made = confidence_of(BINARY["roc_auc"], few_positive(0.5))
    levels = [made.p_less(x) for x in (0.5, 0.98, 0.99, 0.999, 0.9999)]
    assert levels == sorted(levels, reverse=True)
    assert levels[-1] < 0.05


def test_perfect_models_are_not_certain() -> None:
    y = np.array([0, 1] * 20)
    output = np.stack([np.zeros(40), np.where(y == 1, 5.0, -5.0)], axis=1).astype(np.float32)
    a = RowOutputs(ids=[str(i) for i in range(40)], y=y, output=output)
    b = replace(a, output=(2 * output).astype(np.float32))
    for metric in ("accuracy", "roc_auc", "f1_macro"):
        found = paired_difference(BINARY[metric], a, b, confidence=0.9, resamples=1000)
        assert found.low < -0.02 < 0.02 < found.high, metric
    assert interval_of(BINARY["roc_auc"], a, confidence=0.9).low < 0.95


@given(
    n=st.integers(31, 5000), classes=st.integers(2, 4), rare=st.integers(1, 40), seed=st.integers(0, 10_000),
    cluster=st.sampled_from([None, "g"]),
)  # fmt: skip
@settings(max_examples=20)
def test_no_metric_is_certain_of_rows_that_are_all_right_or_all_alike(
    n: int, classes: int, rare: int, seed: int, cluster: str | None
) -> None:
    """Slopes by central differences are wrong in the tenth digit: that must not pass for a spread."""
    rng = np.random.default_rng(seed)
    y = np.where(np.arange(n) < min(rare, n // 2), classes - 1, rng.integers(0, classes - 1, n))
    y[-classes:] = np.arange(classes)
    columns = {"g": [str(one) for one in rng.integers(0, n, n)]}
    ids = [str(i) for i in range(n)]
    right = RowOutputs(ids=ids, y=y, output=3 * np.eye(classes, dtype=np.float32)[y], columns=columns)
    alike = RowOutputs(ids=ids, y=np.ones(n), output=np.full((n, 1), 1.1, dtype=np.float32), columns=columns)
    names = tuple("abcd"[:classes])
    for metrics, rows in ((metrics_for("classification", names), right), (metrics_for("regression", ()), alike)):
        for name, metric in metrics.items():
            found = confidence_of(metric, rows, resamples=200, cluster=cluster)
            wide = found.high(0.05) - found.low(0.05) > 1 / n
            assert found.doubt or wide, (name, found.method, found.low(0.05), found.high(0.05))
            if found.method.startswith("Clopper"):
                assert found.low(0.05) <= 0.05 ** (1 / n)


def test_a_share_over_clusters_is_exact_where_a_cluster_is_all_right_or_all_wrong() -> None:
    wrong = np.repeat(np.arange(40) < 1, 5)
    y = np.ones(200, dtype=np.int64)
    rows = RowOutputs(
        ids=[str(i) for i in range(200)], y=y, output=np.eye(2, dtype=np.float32)[np.where(wrong, 0, 1)],
        columns={"patient": [str(i // 5) for i in range(200)]},
    )  # fmt: skip
    found = confidence_of(BINARY["accuracy"], rows, resamples=200, cluster="patient")
    one_each = clopper_pearson(39, 40, 0.9)
    assert (found.low(0.05), found.high(0.05)) == pytest.approx((one_each.low, one_each.high))
    assert found.method == "Clopper-Pearson (exact binomial), a cluster of patient counted as one row"
    assert found.units == 40
    assert not found.doubt
    for x in (0.8, 0.95, 0.99):
        assert found.p_greater(x) == pytest.approx(ExactBinomial(39, 40).p_greater(x))
        assert found.p_less(x) == pytest.approx(ExactBinomial(39, 40).p_less(x))


def test_a_class_that_few_clusters_have_is_bounded_by_those() -> None:
    """One label a patient: ten rows of class 1 in five patients are five observations, whatever the others are."""
    y = np.repeat(np.array([1] * 5 + [0] * 35), 10)
    rows = RowOutputs(
        ids=[str(i) for i in range(400)], y=y, output=np.eye(2, dtype=np.float32)[y],
        columns={"patient": [str(i // 10) for i in range(400)]},
    )  # fmt: skip
    for metric in ("recall_class_yes", "recall_macro", "f1_class_yes", "f1_macro", "precision_macro"):
        found = confidence_of(BINARY[metric], rows, resamples=200, cluster="patient")
        assert found.low(0.05) == pytest.approx(0.05 ** (1 / 5)), metric
    whole = confidence_of(BINARY["accuracy"], rows, resamples=200, cluster="patient")
    assert whole.low(0.05) == pytest.approx(0.05 ** (1 / 40))


@given(data=st.data(), rows=st.integers(2, 40), clusters=st.integers(1, 8))
def test_pairs_over_clusters_have_bounds_whatever_is_gained_and_lost(
    data: st.DataObject, rows: int, clusters: int
) -> None:
    kind = np.array(data.draw(st.lists(st.integers(0, 3), min_size=rows, max_size=rows)))
    place = data.draw(st.lists(st.integers(0, clusters - 1), min_size=rows, max_size=rows))
    ours, theirs, everything = kind % 2 == 0, kind < 2, np.ones(rows, dtype=bool)
    found = ClusteredPairs(ours, theirs, everything, [str(one) for one in place], name="g")
    mirrored = ClusteredPairs(theirs, ours, everything, [str(one) for one in place], name="g")
    low, high, estimate = found.low(0.05), found.high(0.05), (ours.mean() - theirs.mean())
    assert -1 <= low <= estimate + 1e-9
    assert estimate - 1e-9 <= high <= 1
    assert (mirrored.low(0.05), mirrored.high(0.05)) == pytest.approx((-high, -low), abs=1e-6)


def test_few_disagreements_over_clusters_are_counted_by_cluster_and_not_in_doubt() -> None:
    y = np.ones(200, dtype=np.int64)
    columns = {"patient": [str(i // 5) for i in range(200)]}
    ids = [str(i) for i in range(200)]
    right = RowOutputs(ids=ids, y=y, output=np.eye(2, dtype=np.float32)[y], columns=columns)
    output = right.output.copy()
    output[:5] = output[:5, ::-1]  # one cluster is wrong
    worse = replace(right, output=output)
    found = confidence_of_difference(BINARY["accuracy"], worse, right, resamples=200, cluster="patient")
    exact = paired_share(0, 1, 40)
    assert not found.doubt
    assert (found.low(0.05), found.high(0.05)) == pytest.approx((exact.low(0.05), exact.high(0.05)))
    mirrored = confidence_of_difference(BINARY["accuracy"], right, worse, resamples=200, cluster="patient")
    assert (mirrored.low(0.05), mirrored.high(0.05)) == pytest.approx((-found.high(0.05), -found.low(0.05)), abs=1e-6)
    output[0] = right.output[0]  # four of its five rows: 0.8 of a cluster, more or less than which no bound may take
    part = confidence_of_difference(
        BINARY["accuracy"], replace(right, output=output), right, resamples=200, cluster="patient"
    )
    assert part.low(0.05) == pytest.approx(found.low(0.05))
    assert part.high(0.05) > found.high(0.05)
    assert (part.gained, part.lost) == (0, 4)  # type: ignore[attr-defined]  # rows, as people count them


def test_few_units_few_differences_and_a_biased_metric_are_in_doubt() -> None:
    few = two_models(20)
    assert "too few" in paired_difference(METRICS["f1_macro"], *few, confidence=0.9, resamples=1000).doubt
    a, _ = two_models(100, seed=3)
    output = a.output.copy()
    output[:2] = np.eye(3)[(output[:2].argmax(1) + 1) % 3]  # two rows are decided differently
    near = replace(a, output=output)
    assert "differ" in paired_difference(METRICS["f1_macro"], a, near, confidence=0.9, resamples=1000).doubt
    pair = two_models(60)
    assert "biased" in paired_difference(METRICS["ece"], *pair, confidence=0.9, resamples=1000).doubt


@pytest.mark.parametrize("metric", [name for name in METRICS if name.startswith(("f1_", "precision_"))])
def test_models_that_decide_every_row_alike_are_not_in_doubt_by_rounding(metric: str) -> None:
    a, _ = two_models(600, seed=1)
    found = paired_difference(METRICS[metric], a, replace(a, output=a.output * 2), confidence=0.9, resamples=1000)
    assert found.doubt == ""
    assert found.low < 0 < found.high < 0.1
    assert found.method.startswith("Tango")


def test_without_a_disagreement_the_rarest_label_bounds_a_mean_over_labels() -> None:
    n = 400
    y = np.stack([np.arange(n) % 2 == 0, np.arange(n) < 8], axis=1).astype(np.float32)
    a = RowOutputs(ids=[str(i) for i in range(n)], y=y, output=(4 * y - 2).astype(np.float32))
    found = paired_difference(
        metrics_for("multi_label", ("often", "seldom"))["f1_macro"], a, replace(a, output=2 * a.output), confidence=0.9
    )
    assert "over 8 rows of the rarest class" in found.method


def test_without_a_disagreement_a_sequence_is_no_set_of_labels() -> None:
    """Its numbers are letters, whatever stands in the same place of another row."""
    n = 200
    y = np.full((n, 4), -1.0, dtype=np.float32)
    y[:, 0], y[:3, 1] = np.arange(n) % 5, 2.0  # few rows have a second letter
    found = paired_difference(_OfCodes(), *[RowOutputs(ids=[str(i) for i in range(n)], y=y, output=one)
                                            for one in (y, y + 0.25)], confidence=0.9)  # fmt: skip
    assert f"over {n} rows" in found.method


class _OfCodes(CharacterErrorRate):
    """Outputs and targets are codes; what is below 0 fills up."""

    def said(self, output: np.ndarray) -> list[list[int]]:  # type: ignore[type-arg]
        return [[int(one) for one in row if one >= 0] for row in output]

    def wanted(self, y: np.ndarray) -> list[list[int]]:  # type: ignore[type-arg]
        return self.said(y)


def test_doubt_about_one_model_does_not_speak_of_two() -> None:
    y = np.arange(80) % 2
    output = np.eye(2)[np.where(np.arange(80) < 4, 1 - y, y)].astype(np.float32)
    one = RowOutputs(ids=[str(i) for i in range(80)], y=y, output=output)
    assert "rows of the rarer outcome" in interval_of(BINARY["f1_weighted"], one, confidence=0.9, resamples=1000).doubt


def test_doubt_speaks_of_what_is_drawn() -> None:
    """Queries of a ranking, groups of rows: many rows in few of them are few."""
    query = [str(i // 10) for i in range(600)]
    y = (np.arange(600) % 10 == 0).astype(np.float32)
    wrong = np.arange(600) < 20  # two queries carry the whole spread
    ranked = RowOutputs(ids=[str(i) for i in range(600)], y=y, columns={"@group": query}, output=np.where(wrong, -y, y))
    ndcg = metrics_for("ranking", ())["ndcg_at_5"]
    few = take_rows(ranked, np.arange(100))
    assert "10 queries are too few for a bootstrap" in confidence_of(ndcg, few, resamples=1000).doubt
    assert "too few queries in the tails" in confidence_of(ndcg, ranked, resamples=1000).doubt

    labels = (np.arange(600) // 10 % 2).astype(np.int64)
    output = np.eye(2, dtype=np.float32)[np.where(wrong, 1 - labels, labels)]
    grouped = RowOutputs(ids=ranked.ids, y=labels, columns={"patient": query}, output=output)
    doubt = confidence_of(BINARY["f1_weighted"], grouped, resamples=1000, cluster="patient").doubt
    assert "too few clusters of patient of the rarer outcome" in doubt


def test_what_is_undefined_has_no_bounds_and_no_small_p_value() -> None:
    a, b = two_models(50)
    broken = replace(b, output=np.full_like(b.output, np.nan))
    for first, second in ((a, broken), (broken, a)):
        found = paired_difference(METRICS["f1_macro"], first, second, confidence=0.9)
        assert math.isnan(found.low)
        assert "NaN" in found.doubt
        assert paired_test(METRICS["f1_macro"], first, second, margin=100.0).p_value == 1.0


def test_undefined_resamples_count_as_the_worst_value() -> None:
    y = np.array([0] * 60 + [1] * 2)
    rows = RowOutputs(ids=[str(i) for i in range(62)], y=y, output=np.eye(2, dtype=np.float32)[y])
    other = replace(rows, output=np.eye(2, dtype=np.float32)[np.where(np.arange(62) < 8, 1 - y, y)])
    found = paired_difference(BINARY["precision_class_yes"], other, rows, confidence=0.9, resamples=2000)
    assert found.undefined > 100  # resamples without either of the two rows
    assert math.isinf(found.low)
    assert math.isinf(found.high)


def test_a_cluster_of_repeated_rows_is_one_observation() -> None:
    a, b = two_models(60, seed=1)
    again = np.repeat(np.arange(60), 10)
    copies = [
        RowOutputs(
            ids=[f"{i}-{k}" for k, i in enumerate(again)], y=side.y[again], output=side.output[again],
            columns={"patient": [str(i) for i in again]},
        )
        for side in (a, b)
    ]  # fmt: skip
    for metric in ("f1_macro", "log_loss", "average_precision_macro"):
        chosen = METRICS[metric]
        once = paired_difference(chosen, a, b, confidence=0.9, resamples=4000)
        naive = paired_difference(chosen, *copies, confidence=0.9, resamples=4000)
        found = paired_difference(chosen, *copies, confidence=0.9, resamples=4000, cluster="patient")
        assert "clusters of patient" in found.method
        assert found.units == 60
        assert (found.low, found.high) == pytest.approx((once.low, once.high), abs=0.15 * (once.high - once.low))
        assert naive.high - naive.low < 0.5 * (once.high - once.low)


def test_strata_keep_their_sizes() -> None:
    a, b = two_models(90)
    quantity = Quantity(metric=METRICS["recall_macro"], sides=(a, b), stratify="y")
    cells = road.cells_of(quantity, 100)
    assert sorted(int(block.counts.sum()) for block in cells) == sorted(np.bincount(a.y).tolist())
    found = paired_difference(METRICS["recall_macro"], a, b, confidence=0.9, stratify="region", resamples=1000)
    assert "strata of region" in found.method
    with pytest.raises(ValueError, match="not both"):
        interval_of(METRICS["f1_macro"], a, confidence=0.9, cluster="patient", stratify="y")
    with pytest.raises(ValueError, match="no column 'clinic'"):
        interval_of(METRICS["f1_macro"], a, confidence=0.9, cluster="clinic")


@pytest.mark.parametrize("metric", ["log_loss", "ece", "brier"])
def test_slabs_have_the_distribution_of_the_plain_bootstrap(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = two_models(4200)
    quantity = Quantity(metric=METRICS[metric], sides=pair)
    slabs = road.slabs_of(quantity, 4000)
    assert len(slabs.counts) < 600
    assert slabs.counts[0] == slabs.counts[-1] == 1  # the most influential rows stand alone
    assert slabs.counts.sum() == 4200
    cut, how = road.resampled(quantity, resamples=4000, seed=1)
    assert how.endswith("slabs")
    monkeypatch.setattr(road, "EXACT_UNITS", 10**9)
    plain, how = road.resampled(quantity, resamples=4000, seed=2)
    assert how == ""
    deviation = float(plain.std())
    assert cut.std() == pytest.approx(deviation, rel=0.06)  # 1.1 % is one standard error of each
    for level, errors in ((0.01, 0.3), (0.05, 0.18), (0.5, 0.1), (0.95, 0.18), (0.99, 0.3)):
        assert np.quantile(cut, level) == pytest.approx(np.quantile(plain, level), abs=errors * deviation)


def test_slabs_keep_mean_and_covariance_exactly() -> None:
    quantity = Quantity(metric=METRICS["log_loss"], sides=two_models(5000))
    features = np.concatenate(list(quantity.features()))
    slabs = road.slabs_of(quantity, 1000)
    share = slabs.counts / 5000
    np.testing.assert_allclose(share @ slabs.values, features.mean(0), rtol=1e-12)
    centred = slabs.values - features.mean(0)
    assert slabs.within is not None
    between = 5000 * (centred * share[:, None]).T @ centred
    np.testing.assert_allclose(between + slabs.within @ slabs.within, 5000 * np.cov(features.T, ddof=0), atol=1e-8)


def test_slabs_do_not_move_with_rounding() -> None:
    a, b = two_models(5000)
    first = paired_difference(METRICS["log_loss"], a, b, confidence=0.9, resamples=1000)
    nudged = replace(a, output=np.nextafter(a.output, np.float32(np.inf)))
    second = paired_difference(METRICS["log_loss"], nudged, b, confidence=0.9, resamples=1000)
    assert (first.low, first.high) == pytest.approx((second.low, second.high), abs=1e-6)


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_steps_down_and_never_lowers_a_p_value(p: list[float]) -> None:
    adjusted = holm(p)
    assert all(a >= b for a, b in zip(adjusted, p, strict=True))
    assert min(adjusted) == pytest.approx(min(1.0, len(p) * min(p)))
    assert all(a <= min(1.0, len(p) * b) + 1e-12 for a, b in zip(adjusted, p, strict=True))  # never beyond Bonferroni
    order = np.argsort(p, kind="stable")
    assert list(np.diff(np.array(adjusted)[order]) >= 0) == [True] * (len(p) - 1)


def test_holm_refuses_what_is_no_p_value() -> None:
    assert holm([]) == []
    with pytest.raises(ValueError, match="must be in"):
        holm([0.1, math.nan])


def test_sequences_hold_at_every_moment_and_end_up_narrow() -> None:
    rng = np.random.default_rng(0)
    wrong = {"bounded": 0, "mean": 0}
    for _ in range(200):
        x = rng.choice([1.0, -1.0, 0.0], p=[0.05, 0.05, 0.9], size=1500)
        bounded = bounded_mean_sequence(x, lowest=-1, highest=1, confidence=0.9)
        wrong["bounded"] += bool((bounded.low > 0).any() or (bounded.high < 0).any())
        mean = mean_sequence(x, confidence=0.9)
        wrong["mean"] += bool((mean.low > 0).any() or (mean.high < 0).any())
    assert wrong["bounded"] <= 30  # stated 20 of 200; an interval looked at each time is wrong in over 100
    assert wrong["mean"] <= 30
    assert bounded.high[-1] - bounded.low[-1] < 0.1
    worse = rng.choice([1.0, -1.0, 0.0], p=[0.02, 0.2, 0.78], size=1500)
    found = bounded_mean_sequence(worse, lowest=-1, highest=1, confidence=0.9).first_below(0)
    assert found is not None
    assert found < 500
    assert mean_sequence(worse, confidence=0.9).first_above(0) is None


def test_sequences_refuse_values_outside_their_bounds() -> None:
    with pytest.raises(ValueError, match="within"):
        bounded_mean_sequence(np.array([0.0, 2.0]), lowest=-1, highest=1, confidence=0.9)
    with pytest.raises(ValueError, match="finite"):
        mean_sequence(np.array([0.0, math.nan]), confidence=0.9)


def test_the_detectable_difference_and_the_units_it_needs_are_inverses() -> None:
    margin = detectable_difference(0.01, measured_n=500, n=2000, confidence=0.95)
    assert margin == pytest.approx(0.01 / 2 * (1.6449 + 0.8416), rel=1e-3)
    assert abs(units_needed(margin, 0.01, measured_n=500, confidence=0.95) - 2000) <= 1


def test_gate_statistics_take_any_classified_rows(classified: Callable[..., RowOutputs]) -> None:
    a, b = classified(seed=1), classified(seed=2)
    for name, metric in metrics_for("classification", ("0", "1", "2")).items():
        found = paired_difference(metric, a, b, confidence=0.9, resamples=1000)
        assert found.low <= found.high or math.isnan(found.low), name
        assert found.method
