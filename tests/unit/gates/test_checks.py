"""Every kind of check: what passes, what fails, and what is not evidence."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mlratchet.models.evaluation.perturb import perturbation_name
from mlratchet.models.evaluation.seen import mark_seen
from mlratchet.models.gates.evidence import AttributionShift, ContractReplay, Evidence, LiveReplay
from mlratchet.models.gates.judge import Rules, judge
from mlratchet.models.gates.kinds import AnyCheck
from mlratchet.models.gates.policy import HoldoutPolicy
from mlratchet.models.gates.result import CheckResult, GateResult
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.sources.record import GROUP_COLUMN
from pydantic import TypeAdapter

Classified = Callable[..., RowOutputs]
PARSE = TypeAdapter(AnyCheck).validate_python
FUNCTIONS = "tests.unit.gates.gate_functions"
NOISE = {"kind": "gaussian_noise", "sigma": 0.1}


def decide(
    check: dict[str, Any],
    *,
    first_model: bool = False,
    gate: str = "champion",
    rules: Rules | None = None,
    **evidence: Any,
) -> GateResult:
    return judge(
        gate, [PARSE(check)], Evidence(**evidence), first_model=first_model, task="classification",
        class_names=("0", "1", "2"), rules=rules or Rules(),
    )  # fmt: skip


def found(check: dict[str, Any], **more: Any) -> CheckResult:
    return decide(check, **more).checks[0]


def with_columns(rows: RowOutputs, **columns: Any) -> RowOutputs:
    return dataclasses.replace(rows, columns={name: list(values) for name, values in columns.items()})


def halves(n: int) -> list[str]:
    return ["a" if i < n // 2 else "b" for i in range(n)]


def worse_on(rows: RowOutputs, chosen: np.ndarray[Any, Any]) -> RowOutputs:
    output = rows.output.copy()
    output[chosen] = np.roll(output[chosen], 1, axis=1)
    return dataclasses.replace(rows, output=output)


# --- after a change of data.split ----------------------------------------------------------------------------------

PAIRED = {"kind": "non_inferiority", "metric": "accuracy", "margin": 0.05}


def test_rows_that_the_champion_was_trained_on_are_left_out_of_the_comparison(classified: Classified) -> None:
    """It is perfect on those, and no better than the candidate on the others."""
    candidate = classified(n=2000, accuracy=0.9)
    seen = set(candidate.ids[:1000])
    champion = dataclasses.replace(candidate, output=candidate.output.copy())
    champion.output[:1000] = 5.0 * np.eye(3, dtype=np.float32)[candidate.y[:1000]]
    assert found(PAIRED, candidate=candidate, champion=champion).verdict != "pass"
    marked = mark_seen(champion, seen)
    result = found(PAIRED, candidate=candidate, champion=marked)
    assert (result.verdict, result.n, result.value) == ("pass", 1000, 0.0)
    assert "1000 rows left out that it was trained on" in result.reason


def test_a_champion_that_saw_every_row_is_no_evidence(classified: Classified) -> None:
    rows = classified(n=300)
    result = found(PAIRED, candidate=rows, champion=mark_seen(rows, rows.ids))
    assert result.verdict == "inconclusive"
    words = "trained on every one of these 300 test rows: data.split, or what says which row is which, changed"
    assert words in result.reason


def test_a_slice_of_seen_rows_alone_is_inconclusive(classified: Classified) -> None:
    rows = with_columns(classified(n=600), half=halves(600))
    check = {"kind": "slice", "metric": "accuracy", "by": ["half"], "margin": 0.1, "minimum_rows": 10}
    assert found(check, candidate=rows, champion=rows).verdict == "pass"
    result = found(check, candidate=rows, champion=mark_seen(rows, rows.ids[:300]))
    assert result.verdict == "inconclusive"
    assert "half=a: no rows" in result.reason
    assert {part.label: part.n for part in result.parts} == {"half=a": 0, "half=b": 300}


# --- relative and anchor -------------------------------------------------------------------------------------------


RELATIVE = {"kind": "relative", "metric": "accuracy", "version": 3, "margin": 0.05}
ANCHOR = {"kind": "anchor", "metric": "accuracy", "maximum_loss": 0.03}


def test_a_named_version_is_compared_row_by_row(classified: Classified) -> None:
    good, bad = classified(accuracy=0.95, seed=1), classified(accuracy=0.7, seed=2)
    assert found(RELATIVE, candidate=good, versions={3: good}).verdict == "pass"
    assert found(RELATIVE, candidate=bad, versions={3: good}).verdict == "fail"
    missing = found(RELATIVE, candidate=good, versions={4: good})
    assert missing.verdict == "inconclusive"
    assert "version 3 was not scored" in missing.reason


def test_the_previous_champion_is_found_by_the_ledgers_word(classified: Classified) -> None:
    check, rows = {**RELATIVE, "version": "previous"}, classified()
    assert found(check, candidate=rows, versions={3: rows}, previous_version=3).verdict == "pass"
    assert found(check, candidate=rows, versions={3: rows}).verdict == "inconclusive"  # nobody said which it is
    assert found(check, candidate=rows, previous_version=0).verdict == "not_applicable"  # the ledger says: none
    assert found(check, candidate=rows, first_model=True).verdict == "not_applicable"


def test_small_losses_do_not_add_up_unseen(classified: Classified) -> None:
    """Each step is within the champion's margin; the anchor sees the sum of them."""
    first = classified(n=3000, accuracy=0.95)
    champion, candidate = worse_on(first, np.arange(3000) < 90), worse_on(first, np.arange(3000) < 120)
    step = found(
        {"kind": "non_inferiority", "metric": "accuracy", "margin": 0.02}, candidate=candidate, champion=champion
    )
    assert step.verdict == "pass"
    evidence = {"candidate": candidate, "versions": {1: first}, "anchor_version": 1}
    drift = found(ANCHOR, **evidence)
    assert drift.verdict == "fail"
    assert "version 1" in drift.reason
    assert found({**ANCHOR, "maximum_loss": 0.06}, **evidence).verdict == "pass"
    assert found(ANCHOR, candidate=candidate, versions={1: first}).verdict == "inconclusive"  # which is the first?


def test_a_superiority_margin_asks_for_more_than_better(classified: Classified) -> None:
    check = {"kind": "superiority", "metric": "accuracy"}
    champion = classified(n=2000, accuracy=0.90, seed=1)
    candidate = worse_on(classified(n=2000, accuracy=0.95, seed=1), np.zeros(2000, dtype=bool))
    assert found(check, candidate=candidate, champion=champion).verdict == "pass"
    assert found({**check, "margin": 0.2}, candidate=candidate, champion=champion).verdict == "fail"


# --- slices --------------------------------------------------------------------------------------------------------


SLICE = {"kind": "slice", "metric": "accuracy", "by": ["side"], "minimum": 0.8}


def test_a_slice_that_is_bad_fails_though_the_whole_is_good(classified: Classified) -> None:
    rows = with_columns(classified(n=1000, accuracy=0.97), side=["b"] * 900 + ["a"] * 100)
    assert found(SLICE, candidate=rows).verdict == "pass"
    bad = worse_on(rows, np.arange(1000) >= 950)
    result = found(SLICE, candidate=bad)
    assert found({"kind": "absolute", "metric": "accuracy", "minimum": 0.8}, candidate=bad).verdict == "pass"
    assert result.verdict == "fail"
    assert "side=a" in result.reason
    assert {part.label: part.verdict for part in result.parts} == {"side=a": "fail", "side=b": "pass"}
    assert sum(part.n for part in result.parts) == 1000


def test_holm_asks_more_of_many_slices_than_of_one(classified: Classified) -> None:
    rows = classified(n=80, accuracy=0.9, seed=3)
    alone = {**SLICE, "minimum": 0.82}
    one = found(alone, candidate=with_columns(rows, side=["x"] * 80))
    many = dataclasses.replace(
        rows, ids=[f"{copy}-{i}" for copy in range(20) for i in range(80)],
        y=np.tile(rows.y, 20), output=np.tile(rows.output, (20, 1)),
    )  # fmt: skip
    all_alike = found(alone, candidate=with_columns(many, side=np.repeat([f"s{i}" for i in range(20)], 80)))
    assert one.verdict == "pass"
    assert all_alike.verdict == "inconclusive"
    assert "Holm over 20" in all_alike.reason


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"by": ["sidd"]}, "no column 'sidd'"),
        ({"slices": ["side=a", "side=z"]}, "side=z: no rows"),
        ({"minimum_rows": 400}, "fewer than 400"),
        ({"by": ["id"]}, "expected 1 to 500"),
        ({"by": [], "function": f"{FUNCTIONS}:too_short"}, "gave 1 labels"),
        ({"by": [], "function": f"{FUNCTIONS}:breaks"}, "no such luck"),
        ({"by": [], "function": f"{FUNCTIONS}:gone"}, "no function 'gone'"),
        ({"minimum": None, "margin": 0.1}, "champion was not scored"),
    ],
)
def test_a_slice_without_rows_or_labels_never_passes(
    classified: Classified, change: dict[str, Any], words: str
) -> None:
    n = 600
    rows = with_columns(classified(n=n, accuracy=0.99), side=halves(n), id=[str(i) for i in range(n)])
    result = found({**SLICE, **change}, candidate=rows)
    assert result.verdict == "inconclusive"
    assert words in result.reason


def test_slices_by_a_function_and_against_the_champion(classified: Classified) -> None:
    check = {"kind": "slice", "metric": "accuracy", "function": f"{FUNCTIONS}:halves", "margin": 0.1}
    champion = classified(n=800, accuracy=0.95)
    assert found(check, candidate=champion, champion=champion).verdict == "pass"
    worse = found(check, candidate=worse_on(champion, np.arange(800) < 150), champion=champion)
    assert worse.verdict == "fail"
    assert worse.reason.count("first") == 1
    assert found(check, candidate=champion, first_model=True).verdict == "not_applicable"


# --- fairness, calibration, robustness -----------------------------------------------------------------------------


FAIRNESS = {"kind": "fairness", "metric": "accuracy", "by": ["side"], "maximum_gap": 0.1}


def test_the_gap_between_groups_is_held(classified: Classified) -> None:
    rows = with_columns(classified(n=2000, accuracy=0.95), side=halves(2000))
    for compare in ("estimate", "interval"):
        fair = found({**FAIRNESS, "compare": compare}, candidate=rows)
        unfair = found({**FAIRNESS, "compare": compare}, candidate=worse_on(rows, np.arange(2000) < 300))
        assert (fair.verdict, unfair.verdict) == ("pass", "fail")
        assert unfair.interval is not None
        assert unfair.interval[0] < unfair.value < unfair.interval[1]  # type: ignore[operator]
        assert "side=a" in unfair.reason
        assert "side=b" in unfair.reason


def test_a_gap_that_few_rows_cannot_show_is_inconclusive(classified: Classified) -> None:
    few = with_columns(classified(n=80, accuracy=0.9), side=halves(80))
    assert found({**FAIRNESS, "compare": "interval"}, candidate=few).verdict == "inconclusive"
    assert found({**FAIRNESS, "minimum_rows": 50}, candidate=few).verdict == "inconclusive"
    alone = with_columns(classified(n=80), side=["a"] * 80)
    assert found(FAIRNESS, candidate=alone).verdict == "inconclusive"
    assert found({**FAIRNESS, "by": ["nothing"]}, candidate=few).verdict == "inconclusive"


@pytest.mark.parametrize("measure", ["ece", "brier", "log_loss"])
def test_calibration_is_held_by_estimate_and_by_interval(classified: Classified, measure: str) -> None:
    rows = classified(n=600, accuracy=0.95)
    value = found({"kind": "calibration", "measure": measure, "maximum": 2.0}, candidate=rows).value
    assert value is not None
    close = {"kind": "calibration", "measure": measure, "maximum": value * 1.0001}
    assert found(close, candidate=rows).verdict == "pass"
    assert found({**close, "compare": "interval"}, candidate=rows).verdict == "fail"
    assert found({**close, "maximum": value * 0.5}, candidate=rows).verdict == "fail"


def test_robustness_compares_the_candidate_with_itself(classified: Classified) -> None:
    check = {"kind": "robustness", "perturbation": NOISE, "metric": "accuracy", "maximum_drop": 0.05}
    name = perturbation_name(PARSE(check).perturbation)
    rows = classified(n=1000, accuracy=0.95)
    little, much = worse_on(rows, np.arange(1000) < 20), worse_on(rows, np.arange(1000) < 200)
    for compare in ("estimate", "interval"):
        asked = {**check, "compare": compare}
        assert found(asked, candidate=rows, perturbed={name: little}).verdict == "pass"
        assert found(asked, candidate=rows, perturbed={name: much}).verdict == "fail"
    assert found(check, candidate=rows, perturbed={"another": rows}).verdict == "inconclusive"
    broken = dataclasses.replace(rows, output=np.full_like(rows.output, np.nan))
    assert found(check, candidate=rows, perturbed={name: broken}).verdict == "inconclusive"


# --- what is measured ----------------------------------------------------------------------------------------------


SHIFT = {"kind": "attribution", "maximum_shift": 0.3}


@pytest.mark.parametrize(
    ("check", "evidence", "verdict"),
    [
        ({"kind": "memory", "maximum_megabytes": 500.0}, {"memory_mb": 400.0}, "pass"),
        ({"kind": "memory", "maximum_megabytes": 500.0}, {"memory_mb": 600.0}, "fail"),
        ({"kind": "memory", "maximum_megabytes": 500.0}, {"memory_mb": math.nan}, "inconclusive"),
        ({"kind": "memory", "maximum_megabytes": 500.0}, {"memory_mb": -1.0}, "inconclusive"),
        ({"kind": "memory", "maximum_megabytes": 500.0}, {}, "inconclusive"),
        ({"kind": "latency", "maximum_milliseconds": 5.0}, {"latency_ms": {"p95": 1.0}}, "inconclusive"),
        ({"kind": "contract"}, {"contract": ContractReplay(n=5)}, "pass"),
        ({"kind": "contract"}, {"contract": ContractReplay(n=5, failures=("request 2: 500",))}, "fail"),
        ({"kind": "contract"}, {"contract": ContractReplay(n=0)}, "inconclusive"),
        ({"kind": "contract", "minimum_requests": 9}, {"contract": ContractReplay(n=5)}, "inconclusive"),
        ({"kind": "contract"}, {"live": LiveReplay(n=5)}, "inconclusive"),  # live requests are probation's
        ({"kind": "budget", "maximum_seconds": 60.0}, {"cost": {"train_seconds": 50.0}}, "pass"),
        ({"kind": "budget", "maximum_seconds": 60.0}, {"cost": {"train_seconds": 70.0}}, "fail"),
        ({"kind": "budget", "maximum_core_seconds": 60.0}, {"cost": {"train_seconds": 50.0}}, "inconclusive"),
        ({"kind": "budget", "maximum_seconds": 60.0}, {"cost": {"train_seconds": -1.0}}, "inconclusive"),
        (SHIFT, {"attribution_shift": AttributionShift(value=0.2, n=50)}, "pass"),
        (SHIFT, {"attribution_shift": AttributionShift(value=0.4, n=50)}, "fail"),
        (SHIFT, {"attribution_shift": AttributionShift(value=0.2, n=0)},
         "inconclusive"),
        (SHIFT, {"attribution_shift": AttributionShift(value=math.nan, n=5)},
         "inconclusive"),
    ],
)  # fmt: skip
def test_measured_evidence(check: dict[str, Any], evidence: dict[str, Any], verdict: str) -> None:
    result = found(check, **evidence)
    assert result.verdict == verdict
    assert result.reason


def test_probation_judges_the_live_requests(classified: Classified) -> None:
    contract, latency = {"kind": "contract"}, {"kind": "latency", "maximum_milliseconds": 20.0}
    live = LiveReplay(n=10, latency_ms={"p95": 30.0})
    assert found(contract, gate="probation", live=live).verdict == "pass"
    assert found(latency, gate="probation", live=live, latency_ms={"p95": 1.0}, latency_n=9).verdict == "fail"
    assert found(contract, gate="probation", contract=ContractReplay(n=5)).verdict == "inconclusive"


# --- custom --------------------------------------------------------------------------------------------------------


def custom(name: str, **parameters: Any) -> dict[str, Any]:
    return {"kind": "custom", "function": f"{FUNCTIONS}:{name}", "parameters": parameters}


def test_a_function_of_the_users_judges(classified: Classified) -> None:
    rows = classified(n=50)
    agreed = found(custom("agrees", at_least=50), candidate=rows)
    assert (agreed.verdict, agreed.value, agreed.n) == ("pass", 50.0, 50)
    assert "source" in agreed.method
    assert found(custom("agrees", at_least=51), candidate=rows).verdict == "fail"


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (custom("nan"), "finite"),
        (custom("raises"), "KeyError"),
        (custom("leaves"), "SystemExit"),
        (custom("gone"), "no function"),
        (custom("agrees", atleast=1), "TypeError"),
        (custom("answers"), "expected a mapping"),
        (custom("answers", answer={"value": 1, "verdict": "not_applicable", "reason": "skip me"}), "verdict must be"),
        (custom("answers", answer={"value": True, "verdict": "pass", "reason": "x"}), "finite number"),
        (custom("answers", answer={"value": 1, "verdict": "pass", "reason": " "}), "reason must say"),
        (custom("answers", answer={"value": 1, "verdict": "pass", "reason": "x", "n": -1}), "number of rows"),
    ],
)
def test_whatever_a_function_does_wrong_is_not_a_pass(
    classified: Classified, check: dict[str, Any], words: str
) -> None:
    result = found(check, candidate=classified(n=10))
    assert result.verdict == "inconclusive"
    assert words in result.reason


def test_a_function_cannot_change_what_the_next_check_judges(classified: Classified) -> None:
    rows = classified(n=50)
    before = rows.output.copy()
    assert found(custom("improves_the_candidate"), candidate=rows).verdict == "inconclusive"
    assert np.array_equal(rows.output, before)
    assert rows.output.flags.writeable


# --- whole gates ---------------------------------------------------------------------------------------------------


def test_rows_of_another_dataset_are_no_evidence(classified: Classified) -> None:
    check = {"kind": "absolute", "metric": "accuracy", "minimum": 0.5}
    rows = dataclasses.replace(classified(), dataset_id="d1")
    assert found(check, candidate=rows, dataset_id="d1").verdict == "pass"
    for dataset_id in ("d2", ""):
        result = found(check, candidate=rows, dataset_id=dataset_id)
        assert result.verdict == "inconclusive"
        assert "another dataset" in result.reason


def test_an_id_that_comes_twice_is_refused(classified: Classified) -> None:
    rows = classified(n=100)
    twice = dataclasses.replace(rows, ids=[*rows.ids[:-1], rows.ids[0]])
    assert found({"kind": "absolute", "metric": "accuracy", "minimum": 0.1}, candidate=twice).verdict == "inconclusive"


def test_labels_outside_the_classes_hold_the_model_not_the_run(classified: Classified) -> None:
    rows = classified(n=100)
    rows.y[3] = 7
    result = decide({"kind": "calibration", "measure": "log_loss", "maximum": 9.0}, candidate=rows)
    assert result.verdict != "pass"


def test_inconclusive_counts_as_failed_where_the_policy_says_so() -> None:
    check = {"kind": "size", "maximum_megabytes": 1.0}
    assert decide(check).verdict == "inconclusive"
    assert decide(check, rules=Rules(fails_inconclusive=True)).verdict == "fail"


@pytest.mark.parametrize(("then", "verdict"), [("warn", "pass"), ("rotate", "inconclusive"), ("stricter", "fail")])
def test_worn_rows(classified: Classified, then: str, verdict: str) -> None:
    check = {"kind": "absolute", "metric": "accuracy", "minimum": 0.88}
    rows = classified(n=400, accuracy=0.9)
    rule = Rules(holdout=HoldoutPolicy(warn_after=10, then=then))  # type: ignore[arg-type]
    fresh = decide(check, candidate=rows, holdout_uses=9, rules=rule)
    assert (fresh.verdict, fresh.holdout_uses, len(fresh.checks)) == ("pass", 9, 1)
    worn = decide(check, candidate=rows, holdout_uses=10, rules=rule)
    assert (worn.verdict, worn.holdout_uses) == (verdict, 10)
    assert "10 times before" in worn.checks[1].reason
    assert decide(check, candidate=rows, rules=rule).verdict == "inconclusive"  # nobody counted
    artifact = decide({"kind": "size", "maximum_megabytes": 9.0}, size_bytes=5, rules=rule)
    assert artifact.verdict == "pass"  # looks at no rows


def test_worn_rows_divide_the_error_probability(classified: Classified) -> None:
    check = {"kind": "non_inferiority", "metric": "accuracy", "margin": 0.022}
    champion = classified(n=1000, accuracy=0.95)
    candidate = worse_on(champion, np.arange(1000) < 12)
    rule = Rules(holdout=HoldoutPolicy(warn_after=5, then="stricter"))
    fresh = decide(check, candidate=candidate, champion=champion, holdout_uses=0, rules=rule).checks[0]
    worn = decide(check, candidate=candidate, champion=champion, holdout_uses=99, rules=rule).checks[0]
    assert fresh.verdict == "pass"
    assert worn.verdict == "inconclusive"
    assert "bound (99.95 %)" in worn.reason
    assert worn.interval is not None
    assert fresh.interval is not None
    assert worn.interval[0] < fresh.interval[0]


def test_rows_of_one_group_count_as_one(classified: Classified) -> None:
    """Ten copies of every row are no more evidence than one."""
    check = {"kind": "absolute", "metric": "accuracy", "minimum": 0.86, "compare": "interval"}
    rows = classified(n=120, accuracy=0.9)
    copied = RowOutputs(
        ids=[f"{i}-{copy}" for i in range(120) for copy in range(10)], y=np.repeat(rows.y, 10),
        output=np.repeat(rows.output, 10, axis=0),
    )  # fmt: skip
    assert found(check, candidate=copied).verdict == "pass"
    grouped = with_columns(copied, **{GROUP_COLUMN: np.repeat([str(i) for i in range(120)], 10)})
    result = found(check, candidate=grouped)
    assert result.verdict == "fail"
    assert "group" in result.method


@pytest.mark.parametrize(("left", "expected"), [(1, "inconclusive"), (29, "inconclusive"), (30, "pass")])
def test_an_estimate_over_the_few_rows_that_a_comparison_leaves_is_no_evidence(left: int, expected: str) -> None:
    y = np.asarray([0, 1] * 200)
    y[left:] = 2
    output = 5 * np.eye(3, dtype=np.float32)[y]
    ours = RowOutputs(ids=[str(i) for i in range(400)], y=y, output=output, columns={}, dataset_id="d")
    theirs = dataclasses.replace(ours, output=np.where(np.arange(3) == 2, -np.inf, output), unknown=("2",))
    check = {"kind": "relative", "version": 1, "metric": "accuracy", "margin": 0.01, "compare": "estimate"}
    result = found(check, dataset_id="d", candidate=ours, champion=theirs, versions={1: theirs})
    assert (result.verdict, result.n) == (expected, left)
