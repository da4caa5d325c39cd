"""Whatever the policy and whatever the evidence: nothing damaged passes, and nothing passes by accident.

Hypothesis makes policies of every kind of check and evidence that would pass them all; then one thing is broken.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlratchet.models.data.quality import Measure
from mlratchet.models.evaluation.perturb import perturbation_name
from mlratchet.models.gates.evidence import AttributionShift, ContractReplay, Evidence
from mlratchet.models.gates.judge import Rules, judge
from mlratchet.models.gates.kinds import AnyCheck
from mlratchet.models.gates.policy import HoldoutPolicy
from mlratchet.models.gates.result import GateResult
from mlratchet.models.metrics.rows import RowOutputs
from pydantic import TypeAdapter

PARSE = TypeAdapter(AnyCheck).validate_python
CLASSES = ("no", "yes")
DATASET = "d" * 64
N = 80
NOISE = {"kind": "gaussian_noise", "sigma": 0.1}
HIGHER, LOWER = ("accuracy", "f1_macro", "recall_class_yes", "roc_auc"), ("log_loss", "brier", "ece")
METRICS = st.sampled_from(HIGHER + LOWER)
COMPARES = st.sampled_from(["estimate", "interval"])
FAST = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
BAD = st.sampled_from([math.nan, math.inf, -math.inf])


def scored(seed: int, dataset_id: str = DATASET) -> RowOutputs:
    """A model as good as any other seed's: 60 of 80 rows right, other ones; enough errors, and differences between two
    of them, that no bound is in doubt on either side."""
    rng = np.random.default_rng(seed)
    y = np.arange(N) % 2
    output = rng.normal(0, 0.2, (N, 2)).astype(np.float32)
    wrong = np.isin(np.arange(N), rng.permutation(N)[:20])
    output[np.arange(N), np.where(wrong, 1 - y, y)] += 3.0
    columns = {"side": ["a" if i % 4 < 2 else "b" for i in range(N)]}
    return RowOutputs(ids=[f"r{i}" for i in range(N)], y=y, output=output, columns=columns, dataset_id=dataset_id)


def bounded(metric: str) -> dict[str, float]:
    return {"minimum": 0.0} if metric in HIGHER else {"maximum": 1.9 if metric == "brier" else 5.0}


@st.composite
def checks(draw: st.DrawFn) -> dict[str, Any]:
    """A check that the good evidence passes."""
    metric, compare = draw(METRICS), draw(COMPARES)
    statistical = {"resamples": 1000, "seed": draw(st.integers(0, 3)), "confidence": draw(st.sampled_from([0.8, 0.95]))}
    margin = draw(st.floats(3.0, 9.0))
    on_metric = {"metric": metric, **statistical}
    sided = bounded(metric) if draw(st.booleans()) else {"margin": margin}
    return draw(
        st.sampled_from(
            [
                {"kind": "data", "measure": "rows", "minimum": draw(st.floats(0, 50))},
                {"kind": "absolute", "compare": compare, **on_metric, **bounded(metric)},
                {"kind": "non_inferiority", "margin": margin, **on_metric},
                {"kind": "relative", "version": draw(st.sampled_from([4, "previous"])), "margin": margin,
                 "compare": compare, **on_metric},
                {"kind": "anchor", "version": draw(st.sampled_from([1, "first"])), "maximum_loss": margin, **on_metric},
                {"kind": "slice", "by": ["side"], "slices": draw(st.sampled_from([[], ["side=a"]])),
                 "compare": compare, **on_metric, **sided},
                {"kind": "calibration", "measure": draw(st.sampled_from(LOWER)), "maximum": 5.0, "compare": compare,
                 **statistical},
                {"kind": "robustness", "perturbation": NOISE, "maximum_drop": margin, "compare": compare, **on_metric},
                {"kind": "fairness", "by": ["side"], "maximum_gap": margin, "compare": compare, **on_metric},
                {"kind": "latency", "maximum_milliseconds": 50.0}, {"kind": "size", "maximum_megabytes": 5.0},
                {"kind": "memory", "maximum_megabytes": 900.0}, {"kind": "parity", "maximum_difference": 0.1},
                {"kind": "contract"}, {"kind": "budget", "maximum_seconds": 900.0},
                {"kind": "attribution", "maximum_shift": 0.5},
                {"kind": "custom", "function": "tests.unit.gates.gate_functions:agrees"},
            ]
        )
    )  # fmt: skip


POLICIES = st.lists(checks(), min_size=1, max_size=4).map(lambda some: [PARSE(one) for one in some])


def good() -> Evidence:
    """Passes every check above."""
    noise = perturbation_name(
        PARSE({"kind": "robustness", "perturbation": NOISE, "metric": "x", "maximum_drop": 1.0}).perturbation
    )
    return Evidence(
        version=5, dataset_id=DATASET, candidate=scored(1), champion=scored(2),
        data_measures={"rows": Measure(value=80.0, n=80)}, latency_ms={"p95": 3.0}, latency_n=30, size_bytes=10_000,
        memory_mb=300.0, parity_max_difference=1e-6, parity_n=80, contract=ContractReplay(n=3),
        perturbed={noise: scored(3)}, versions={1: scored(4), 4: scored(5)}, anchor_version=1, previous_version=4,
        cost={"train_seconds": 20.0}, attribution_shift=AttributionShift(value=0.1, n=40), holdout_uses=2,
    )  # fmt: skip


GOOD = good()


def decide(policy: list[Any], evidence: Evidence, **rules: Any) -> GateResult:
    return judge(
        "champion", policy, evidence, first_model=False, task="classification", class_names=CLASSES,
        rules=Rules(**rules),
    )  # fmt: skip


def replaced(rows: RowOutputs | None, **fields: Any) -> Any:
    assert rows is not None
    return dataclasses.replace(rows, **fields)


def with_output(rows: RowOutputs | None, row: int, value: float) -> RowOutputs:
    assert rows is not None
    output = rows.output.copy()
    output[row, row % 2] = value
    return replaced(rows, output=output)  # type: ignore[no-any-return]


def every_model(evidence: Evidence, change: Callable[[RowOutputs], RowOutputs]) -> Evidence:
    assert evidence.candidate is not None
    assert evidence.champion is not None
    return dataclasses.replace(
        evidence, candidate=change(evidence.candidate), champion=change(evidence.champion),
        perturbed={name: change(rows) for name, rows in evidence.perturbed.items()},
        versions={number: change(rows) for number, rows in evidence.versions.items()},
    )  # fmt: skip


def looks_at_rows(policy: list[Any]) -> bool:
    """Other than by a function of the user's, which refuses what it wants to."""
    return any(check.wears and check.kind != "custom" for check in policy)


@FAST
@given(policy=POLICIES)
def test_the_good_evidence_passes_every_policy(policy: list[Any]) -> None:
    """So that what follows is not true of everything."""
    result = decide(policy, GOOD)
    assert result.verdict == "pass", [check.reason for check in result.checks if check.verdict != "pass"]


@FAST
@given(policy=POLICIES, row=st.integers(0, N - 1), value=BAD)
def test_no_model_that_answers_nan_or_infinity_passes(policy: list[Any], row: int, value: float) -> None:
    broken = dataclasses.replace(GOOD, candidate=with_output(GOOD.candidate, row, value))
    judged = decide(policy, broken)
    assert (judged.verdict == "pass") is not looks_at_rows(policy)
    compared = [check for check in policy if check.kind == "non_inferiority"]
    if compared:
        assert (
            decide(compared, dataclasses.replace(GOOD, champion=with_output(GOOD.champion, row, value))).verdict
            != "pass"
        )


@FAST
@given(policy=POLICIES, value=BAD)
def test_no_measure_that_is_not_a_number_passes(policy: list[Any], value: float) -> None:
    measured = [c for c in policy if not c.wears and c.kind != "contract"]
    broken = dataclasses.replace(
        GOOD, data_measures={"rows": Measure(value=value, n=80)}, latency_ms={"p95": value}, memory_mb=value,
        parity_max_difference=value, cost={"train_seconds": value}, size_bytes=value,
        attribution_shift=AttributionShift(value=value, n=40),
    )  # fmt: skip
    if measured:
        assert decide(measured, broken).verdict == "inconclusive"


EMPTY = Evidence(version=5, dataset_id=DATASET)


@FAST
@given(policy=POLICIES, kept=st.sets(st.sampled_from([f.name for f in dataclasses.fields(Evidence)])))
def test_missing_evidence_never_passes_the_check_that_needs_it(policy: list[Any], kept: set[str]) -> None:
    """Any part of the evidence: a check passes with all it needs, and is never failed for what is not there."""
    names = {f.name for f in dataclasses.fields(Evidence)}
    some = dataclasses.replace(
        GOOD, **{name: getattr(EMPTY, name) for name in names - kept - {"dataset_id", "version"}}
    )
    needs: Mapping[str, set[str]] = {
        "data": {"data_measures"}, "absolute": {"candidate"}, "calibration": {"candidate"}, "fairness": {"candidate"},
        "non_inferiority": {"candidate", "champion"}, "relative": {"candidate", "versions"},
        "anchor": {"candidate", "versions"}, "slice": {"candidate"}, "robustness": {"candidate", "perturbed"},
        "latency": {"latency_ms", "latency_n"}, "size": {"size_bytes"}, "memory": {"memory_mb"},
        "parity": {"parity_max_difference", "parity_n"}, "contract": {"contract"}, "budget": {"cost"},
        "attribution": {"attribution_shift"}, "custom": {"candidate"},
    }  # fmt: skip
    for check, result in zip(policy, decide(policy, some).checks, strict=True):
        wanted = set(needs[check.kind])
        wanted |= {"champion"} if getattr(check, "margin", None) and check.kind == "slice" else set()
        wanted |= {"anchor_version"} if getattr(check, "version", None) == "first" else set()
        wanted |= {"previous_version"} if getattr(check, "version", None) == "previous" else set()
        assert (result.verdict == "pass") is (wanted <= kept)
        assert check.kind == "custom" or result.verdict != "fail"


@FAST
@given(policy=POLICIES, name=st.sampled_from(["a metric nobody knows", "", "Accuracy"]))
def test_an_unknown_metric_never_passes(policy: list[Any], name: str) -> None:
    renamed = [check.model_copy(update={"metric": name}) for check in policy if hasattr(check, "metric")]
    if renamed:
        result = decide(renamed, GOOD)
        assert result.verdict == "inconclusive"
        assert all("unknown metric" in check.reason for check in result.checks)


@FAST
@given(policy=POLICIES, other=st.sampled_from(["", "e" * 64]))
def test_rows_of_another_dataset_never_pass(policy: list[Any], other: str) -> None:
    foreign = every_model(GOOD, lambda rows: replaced(rows, dataset_id=other))
    assert (decide(policy, foreign).verdict == "pass") is not looks_at_rows(policy)
    elsewhere = dataclasses.replace(GOOD, dataset_id=other)
    assert (decide(policy, elsewhere).verdict == "pass") is not looks_at_rows(policy)


COMPARING = ("non_inferiority", "relative", "anchor", "robustness")


@FAST
@given(policy=POLICIES, how=st.sampled_from(["ids", "order", "labels", "rows"]), row=st.integers(0, N - 2))
def test_models_scored_on_other_rows_are_never_compared(policy: list[Any], how: str, row: int) -> None:
    def other(rows: RowOutputs) -> RowOutputs:
        ids, y, output = list(rows.ids), rows.y.copy(), rows.output
        if how == "ids":
            ids[row] = "someone else"
        elif how == "order":
            ids[row], ids[row + 1] = ids[row + 1], ids[row]
        elif how == "labels":
            y[row] = 1 - y[row]
        else:
            keep = np.arange(N) != row
            ids, y, output = [one for one, kept in zip(ids, keep, strict=True) if kept], y[keep], output[keep]
        columns = {"side": rows.columns["side"][: len(ids)]}
        return replaced(rows, ids=ids, y=y, output=output, columns=columns)  # type: ignore[no-any-return]

    moved = dataclasses.replace(every_model(GOOD, other), candidate=GOOD.candidate)
    for check, result in zip(policy, decide(policy, moved).checks, strict=True):
        compared = check.kind in COMPARING or (check.kind == "slice" and check.margin is not None)
        assert (result.verdict == "pass") is not compared


@FAST
@given(policy=POLICIES, sides=st.sampled_from([[""] * N, ["c"] * N, ["c"] * (N - 1) + ["a"], None]))
def test_an_empty_or_unmatched_slice_never_passes(policy: list[Any], sides: list[str] | None) -> None:
    columns = {} if sides is None else {"side": sides}
    moved = every_model(GOOD, lambda rows: replaced(rows, columns=columns))
    for check, result in zip(policy, decide(policy, moved).checks, strict=True):
        if (
            check.kind == "fairness"
            or (check.kind == "slice" and check.slices)
            or (check.kind == "slice" and (sides is None or "a" in sides))
        ):
            assert result.verdict == "inconclusive"


@FAST
@given(policy=POLICIES)
def test_a_champion_that_cannot_be_loaded_lets_nothing_pass_that_needs_it(policy: list[Any]) -> None:
    without = dataclasses.replace(GOOD, champion=None, versions={}, anchor_version=None, previous_version=None)
    for check, result in zip(policy, decide(policy, without).checks, strict=True):
        compared = check.kind in ("non_inferiority", "relative", "anchor") or (
            check.kind == "slice" and check.margin is not None
        )
        assert (result.verdict == "pass") is not compared


@FAST
@given(policy=POLICIES, first_model=st.booleans(), uses=st.one_of(st.none(), st.integers(0, 30)), strict=st.booleans())
def test_judging_is_deterministic_and_pass_means_every_applicable_check_passed(
    policy: list[Any], first_model: bool, uses: int | None, strict: bool
) -> None:
    evidence = dataclasses.replace(GOOD, holdout_uses=uses)
    rules = Rules(fails_inconclusive=strict, holdout=HoldoutPolicy(warn_after=10, then="stricter"))

    def once() -> GateResult:
        return judge(
            "champion", policy, evidence, first_model=first_model, task="classification", class_names=CLASSES,
            rules=rules,
        )  # fmt: skip

    result = once()
    assert once() == result
    applicable = [check.verdict for check in result.checks if check.verdict != "not_applicable"]
    assert (result.verdict == "pass") is (bool(applicable) and set(applicable) == {"pass"})
    if strict:
        assert result.verdict != "inconclusive"
    if uses is None and looks_at_rows(policy):
        assert result.verdict != "pass"


UNMET = [
    {"kind": "size", "maximum_megabytes": 0.001},
    {"kind": "absolute", "metric": "accuracy", "minimum": 0.99},
    {"kind": "absolute", "metric": "accuracy", "minimum": 0.9, "compare": "interval"},
    {"kind": "approval", "approvers": ["ada"]},
    {"kind": "custom", "function": "tests.unit.gates.gate_functions:raises"},
]


@FAST
@given(policy=POLICIES, unmet=st.sampled_from(UNMET), at=st.integers(0, 4))
def test_one_more_check_that_does_not_pass_never_makes_a_pass(
    policy: list[Any], unmet: dict[str, Any], at: int
) -> None:
    more = [*policy[:at], PARSE(unmet), *policy[at:]]
    assert decide(more, GOOD).verdict in ("fail", "inconclusive")


@pytest.mark.parametrize("strict", [False, True])
def test_no_checks_at_all_never_pass(strict: bool) -> None:
    assert decide([], GOOD, fails_inconclusive=strict).verdict != "pass"
