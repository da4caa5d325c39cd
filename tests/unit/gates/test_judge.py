"""Gates fail closed: only finite, measured, sufficient evidence passes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlratchet.models.data.quality import Measure
from mlratchet.models.gates.checks.absolute import AbsoluteCheck
from mlratchet.models.gates.checks.data import DataCheck
from mlratchet.models.gates.checks.latency import LatencyCheck
from mlratchet.models.gates.checks.non_inferiority import NonInferiorityCheck
from mlratchet.models.gates.checks.parity import ParityCheck
from mlratchet.models.gates.checks.size import SizeCheck
from mlratchet.models.gates.checks.superiority import SuperiorityCheck
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.gates.judge import judge
from mlratchet.models.gates.result import GateResult
from mlratchet.models.metrics.rows import RowOutputs

Classified = Callable[..., RowOutputs]
CLASSES = ("0", "1", "2")


def decide(*checks: Any, first_model: bool = False, **evidence: Any) -> GateResult:
    return judge("g", checks, Evidence(**evidence), first_model=first_model, task="classification", class_names=CLASSES)


def absolute(**kw: Any) -> AbsoluteCheck:
    return AbsoluteCheck(kind="absolute", **kw)


def paired(metric: str = "accuracy", margin: float = 0.02) -> NonInferiorityCheck:
    return NonInferiorityCheck(kind="non_inferiority", metric=metric, margin=margin, resamples=1000)


@pytest.mark.parametrize(("minimum", "verdict"), [(0.89, "pass"), (0.91, "fail"), (0.9, "pass")])
def test_an_estimate_is_held_against_its_minimum(classified: Classified, minimum: float, verdict: str) -> None:
    result = decide(absolute(metric="accuracy", minimum=minimum), candidate=classified(accuracy=0.9))
    assert result.verdict == verdict
    assert f"{minimum:g}" in result.checks[0].reason
    assert result.checks[0].n == 400


def test_an_interval_asks_more_than_an_estimate(classified: Classified) -> None:
    rows = classified(n=100, accuracy=0.92)
    assert decide(absolute(metric="accuracy", minimum=0.9), candidate=rows).verdict == "pass"
    assert decide(absolute(metric="accuracy", minimum=0.9, compare="interval"), candidate=rows).verdict == "fail"


@pytest.mark.parametrize("metric", ["accuracy", "f1_macro", "log_loss", "ece", "recall_class_1"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_model_that_answers_nan_or_infinity_never_passes(classified: Classified, metric: str, bad: float) -> None:
    rows = classified()
    rows.output[7, 1] = bad
    bound = {"maximum": 100.0} if metric in ("log_loss", "ece") else {"minimum": 0.0}
    for check in (absolute(metric=metric, **bound), paired(metric, margin=100.0)):
        result = decide(check, candidate=rows, champion=classified())
        assert result.verdict == "inconclusive"
        assert "NaN or infinity" in result.checks[0].reason


EVERY_WAY = (
    absolute(metric="accuracy", minimum=0.1),
    absolute(metric="accuracy", minimum=0.1, compare="interval"),
    absolute(metric="log_loss", maximum=100.0),
    absolute(metric="f1_macro", minimum=0.1),
    absolute(metric="recall_class_1", minimum=0.1),
    absolute(metric="roc_auc_macro", minimum=0.1),
    paired(margin=0.9),
)


@pytest.mark.parametrize("label", [-1, 3, 7, 1.5, 0.25, 2.0000001])
@pytest.mark.parametrize("who", ["candidate", "champion", "both"])
def test_a_label_that_is_no_class_holds_the_model_whatever_is_asked(
    classified: Classified, label: float, who: str
) -> None:
    """-1 was the last class, and 1.5 the first after the zeroth."""
    models = {"candidate": classified(), "champion": classified(seed=1)}
    for name, rows in models.items():
        if who in (name, "both"):
            y = rows.y.astype(np.float64)
            y[5] = label
            models[name] = replace(rows, y=y)
    for check in EVERY_WAY if who != "champion" else [paired(margin=0.9)]:
        result = decide(check, **models)
        assert result.verdict == "inconclusive", check
        assert "a target cannot be read" in result.checks[0].reason, check


@pytest.mark.parametrize("width", [1, 2, 4])
def test_another_number_of_outputs_than_classes_holds_the_model(classified: Classified, width: int) -> None:
    rows = classified()
    rows = replace(rows, output=np.resize(rows.output, (len(rows.ids), width)))
    for check in EVERY_WAY:
        result = decide(check, candidate=rows, champion=classified(seed=1))
        assert result.verdict == "inconclusive", check
        assert f"the outputs have shape [{width}] per row, expected [3]" in result.checks[0].reason


@pytest.mark.parametrize(
    ("task", "y", "names", "output"),
    [
        ("multi_label", [[0.0, 2.0]], ("u", "v"), [[0.1, 0.2]]),
        ("multi_label", [[0.0, 0.5]], ("u", "v"), [[0.1, 0.2]]),
        ("ranking", [-1.0], (), [0.1]),
        ("regression", [1.0], (), [[0.1, 0.2]]),
    ],
)
def test_a_target_or_output_that_another_task_would_have_holds_the_model(
    task: str, y: Any, names: tuple[str, ...], output: Any
) -> None:
    rows = RowOutputs(
        ids=[f"r{at}" for at in range(40)], y=np.asarray(y * 40, dtype=np.float32),
        output=np.asarray(output * 40, dtype=np.float32), columns={"@group": ["q"] * 40},
    )  # fmt: skip
    metric = {"multi_label": "subset_accuracy", "ranking": "ndcg_at_10", "regression": "mae"}[task]
    bound = {"maximum": 1e9} if task == "regression" else {"minimum": 1e-9}
    result = judge(
        "g", [absolute(metric=metric, **bound)], Evidence(candidate=rows), first_model=False, task=task,
        class_names=names,
    )  # fmt: skip
    assert result.verdict == "inconclusive"
    assert "cannot be read" in result.checks[0].reason or "the outputs have shape" in result.checks[0].reason


def test_a_champion_that_answers_nan_does_not_let_the_candidate_pass(classified: Classified) -> None:
    broken = classified(seed=2)
    broken.output[0, 0] = math.nan
    assert decide(paired(), candidate=classified(), champion=broken).verdict == "inconclusive"


@given(value=st.sampled_from([math.nan, math.inf, -math.inf]), bound=st.floats(-1e6, 1e6))
def test_no_measure_that_is_not_finite_passes(value: float, bound: float) -> None:
    for side in ("minimum", "maximum"):
        check = DataCheck.model_validate({"kind": "data", "measure": "rows", side: bound})
        assert decide(check, data_measures={"rows": Measure(value=value, n=5)}).verdict == "inconclusive"


@given(
    value=st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True)),
    bound=st.floats(min_value=1e-6, max_value=1e6),
)
def test_latency_and_parity_pass_only_within_their_bound(value: float | None, bound: float) -> None:
    within = value is not None and 0 <= value <= bound
    latency = {} if value is None else {"p95": value}
    timed = decide(LatencyCheck(kind="latency", maximum_milliseconds=bound), latency_ms=latency, latency_n=1)
    equal = decide(ParityCheck(kind="parity", maximum_difference=bound), parity_max_difference=value, parity_n=1)
    assert (timed.verdict == "pass") is within
    assert (equal.verdict == "pass") is within


@pytest.mark.parametrize(
    "check",
    [
        absolute(metric="accuracy", minimum=0.0),
        paired(),
        SuperiorityCheck(kind="superiority", metric="accuracy"),
        LatencyCheck(kind="latency", maximum_milliseconds=1e9),
        SizeCheck(kind="size", maximum_megabytes=1e9),
        ParityCheck(kind="parity", maximum_difference=1e9),
        DataCheck(kind="data", measure="rows", minimum=0.0),
        absolute(metric="no_such_metric", minimum=0.0),
    ],
)
def test_what_was_not_measured_never_passes(check: Any) -> None:
    result = decide(check)
    assert result.verdict == "inconclusive"
    assert result.checks[0].value is None


def test_a_gate_without_checks_or_without_applicable_checks_never_passes(classified: Classified) -> None:
    assert decide(candidate=classified()).verdict == "inconclusive"
    assert decide(paired(), first_model=True, candidate=classified()).verdict == "inconclusive"


def test_the_first_model_is_judged_by_its_absolute_checks(classified: Classified) -> None:
    checks = (absolute(metric="accuracy", minimum=0.8), paired())
    result = decide(*checks, first_model=True, candidate=classified())
    assert result.verdict == "pass"
    assert result.checks[1].verdict == "not_applicable"
    assert "bootstrap rule" in result.checks[1].reason


def test_one_failed_check_fails_the_gate(classified: Classified) -> None:
    checks = (absolute(metric="accuracy", minimum=0.1), absolute(metric="f1_macro", minimum=0.99))
    assert decide(*checks, candidate=classified(accuracy=0.9)).verdict == "fail"


@pytest.mark.parametrize("metric", ["accuracy", "f1_macro", "log_loss"])
def test_a_clearly_worse_candidate_fails_and_a_clearly_better_one_passes(classified: Classified, metric: str) -> None:
    good, bad = classified(accuracy=0.97, seed=1), classified(accuracy=0.6, seed=2)
    margin = 0.3 if metric == "log_loss" else 0.02
    assert decide(paired(metric, margin), candidate=bad, champion=good).verdict == "fail"
    assert decide(paired(metric, margin), candidate=good, champion=bad).verdict == "pass"
    better = SuperiorityCheck(kind="superiority", metric=metric, resamples=1000)
    assert decide(better, candidate=good, champion=bad).verdict == "pass"
    assert decide(better, candidate=good, champion=good).verdict == "inconclusive"


def test_few_rows_are_inconclusive_not_passed(classified: Classified) -> None:
    few = classified(n=40, accuracy=0.9, seed=1), classified(n=40, accuracy=0.9, seed=2)
    assert decide(paired(margin=0.02), candidate=few[0], champion=few[1]).verdict == "inconclusive"
    tiny = classified(n=12), classified(n=12, seed=3)
    result = decide(paired("f1_macro", 0.5), candidate=tiny[0], champion=tiny[1])
    assert result.verdict == "inconclusive"
    assert "too few" in result.checks[0].reason


def test_models_scored_on_other_rows_are_not_compared(classified: Classified) -> None:
    result = decide(paired(), candidate=classified(), champion=classified(ids="other"))
    assert result.verdict == "inconclusive"
    rows = classified()
    relabelled = RowOutputs(ids=rows.ids, y=(rows.y + 1) % 3, output=rows.output)
    assert decide(paired(), candidate=classified(), champion=relabelled).verdict == "inconclusive"


def test_regression_gates_hold_their_direction() -> None:
    y = np.linspace(0, 10, 200).astype(np.float32)
    rng = np.random.default_rng(0)

    def rows(noise: float) -> RowOutputs:
        output = y + rng.normal(0, noise, 200).astype(np.float32)
        return RowOutputs(ids=[str(i) for i in range(200)], y=y, output=output)

    def gate(check: Any, **evidence: Any) -> str:
        return judge("g", (check,), Evidence(**evidence), first_model=False, task="regression", class_names=()).verdict

    assert gate(absolute(metric="rmse", maximum=0.3), candidate=rows(0.2)) == "pass"
    assert gate(absolute(metric="rmse", maximum=0.3), candidate=rows(0.5)) == "fail"
    assert gate(paired("rmse", 0.05), candidate=rows(0.2), champion=rows(0.5)) == "pass"
    assert gate(paired("rmse", 0.05), candidate=rows(0.5), champion=rows(0.2)) == "fail"
