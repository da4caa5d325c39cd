"""What could never be meant, or could never pass, is refused before anything trains."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mlratchet.models.data.quality import MEASURES, range_of
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.gates.checks.live import LiveCheck
from mlratchet.models.gates.kinds import CHECKS
from mlratchet.models.gates.pilot import Pilot
from mlratchet.models.gates.policy import GatePolicy
from mlratchet.models.gates.power import power_notes
from mlratchet.models.gates.validation import validate_policy
from mlratchet.models.metrics import Metric
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.naming import metrics_for
from mlratchet.models.pipeline.checking import check_gates
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.workloads.base import Workload
from pydantic import ValidationError

CLASSES = ("a", "b", "c")
FUNCTIONS = "tests.unit.gates.gate_functions"
ABSOLUTE = {"kind": "absolute", "metric": "accuracy", "minimum": 0.5}
GOOD: dict[str, Any] = {
    "data": [{"kind": "data", "measure": "rows", "minimum": 1.0}],
    "candidate": [ABSOLUTE],
    "staging": [{"kind": "size", "maximum_megabytes": 5.0}],
    "champion": [ABSOLUTE, {"kind": "non_inferiority", "metric": "accuracy", "margin": 0.05}],
}


def policy(**gates: Any) -> GatePolicy:
    return GatePolicy.model_validate({**GOOD, **gates})


def refused(check: dict[str, Any], gate: str = "champion", **more: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        validate_policy(policy(**{gate: [*GOOD[gate], check]}), "classification", CLASSES, **more)
    return str(caught.value)


def malformed(gate: str, *checks: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as caught:
        policy(**{gate: list(checks)})
    return str(caught.value)


PAIRED = {"metric": "accuracy", "margin": 0.05}


TASKS: dict[str, tuple[str, ...]] = {"classification": CLASSES, "multi_label": CLASSES, "regression": (), "ranking": ()}


def every_metric() -> Iterator[tuple[str, Metric]]:
    return ((task, metric) for task, names in TASKS.items() for metric in metrics_for(task, names).values())


def test_a_bound_that_no_value_of_a_metric_can_miss_is_refused() -> None:
    """Of every metric of every task, by its range."""
    finite = 0
    for task, metric in every_metric():
        better = "minimum" if metric.direction == "higher" else "maximum"
        end = metric.span[0] if metric.direction == "higher" else metric.span[1]
        if not math.isfinite(end):
            continue
        finite += 1
        with pytest.raises(ConfigurationError, match="always holds"):
            validate_policy(
                GatePolicy.model_validate(
                    {
                        "data": GOOD["data"], "staging": GOOD["staging"],
                        "candidate": [{"kind": "absolute", "metric": metric.name, better: end}],
                        "champion": [{"kind": "slice", "metric": metric.name, "by": ["x"], better: end}],
                    }
                ),
                task, TASKS[task],
            )  # fmt: skip
    assert finite > 20


def test_a_bound_that_no_measure_of_a_delivery_can_miss_or_hold_is_refused() -> None:
    for measure in MEASURES:
        low, high = range_of(measure, len(CLASSES))
        for bound, words in (
            ({"minimum": low}, "always holds"), ({"minimum": low - 1.0}, "lies outside"),
            ({"maximum": high}, "always holds"), ({"maximum": high + 1.0}, "lies outside"),
            ({"minimum": high + 1.0}, "lies outside"),
        ):  # fmt: skip
            if math.isfinite(next(iter(bound.values()))):
                assert words in refused({"kind": "data", "measure": measure, **bound}, gate="data")


NOT_OF_A_METRIC = {
    "minimum_rows", "minimum_requests", "minimum_approvals",  # how many there must be; each is at least 1
    "maximum_milliseconds", "maximum_megabytes", "maximum_seconds", "maximum_core_seconds", "maximum_gpu_seconds",
    "maximum_difference",  # amounts without an upper end; each above 0
    "maximum_shift",  # 0 to 1, refused at 1
}  # fmt: skip


def test_every_bound_of_every_kind_of_check_is_held_against_a_range() -> None:
    """Whoever adds a kind says which of its fields are bounds, or names them here with the reason."""
    for kind, check in CHECKS.items():
        bounds = {n for n in check.model_fields if n.startswith(("minimum", "maximum")) or n == "margin"}
        held = {*getattr(check, "levels", ()), *getattr(check, "margins", ())}
        held |= {"data": {"minimum", "maximum"}, "approval": {"minimum"}}.get(kind, set())  # approval: how many people
        held |= {"maximum", "margin", "minimum_labels"} if issubclass(check, LiveCheck) else set()  # shares below 1
        assert bounds - held - NOT_OF_A_METRIC == set(), kind


@pytest.mark.parametrize(
    ("check", "words"),
    [
        ({"kind": "attribution", "maximum_shift": 1.0}, "always holds"),
        ({"kind": "calibration", "measure": "ece", "maximum": 1.0}, "always holds"),
        ({"kind": "superiority", "metric": "accuracy", "margin": 1.0}, "never holds"),
        ({"kind": "absolute", "metric": "accuracy", "minimum": 90.0}, "lies outside accuracy, which is 0 to 1"),
        ({"kind": "non_inferiority", "metric": "accuracy", "margin": 2.0}, "always holds"),
        ({"kind": "anchor", "metric": "accurcy", "maximum_loss": 0.1}, "did you mean 'accuracy'"),
        ({"kind": "slice", "metric": "log_loss", "by": ["x"], "minimum": 0.1}, "better when lower, got minimum"),
        ({"kind": "slice", "metric": "accuracy", "by": ["x"], "maximum": 0.1}, "better when higher, got maximum"),
        ({"kind": "slice", "metric": "accuracy", "function": f"{FUNCTIONS}:halve", "minimum": 0.1},
         "did you mean 'halves'"),
        ({"kind": "slice", "metric": "accuracy", "function": "no.such.module:f", "minimum": 0.1}, "cannot import"),
        ({"kind": "custom", "function": f"{FUNCTIONS}:agrees", "parameters": {"at_leest": 3}},
         "did you mean 'at_least'"),
        ({"kind": "custom", "function": f"{FUNCTIONS}:CALLS"}, "has no function 'CALLS'"),
        ({"kind": "robustness", "metric": "accuracy", "maximum_drop": 1.5,
          "perturbation": {"kind": "gaussian_noise", "sigma": 0.1}}, "always holds"),
    ],
)  # fmt: skip
def test_refused_with_its_place_and_the_next_step(check: dict[str, Any], words: str) -> None:
    said = refused(check)
    assert words in said
    assert said.startswith("gates.champion.2: ")


@pytest.mark.parametrize(
    ("gate", "check", "words"),
    [
        ("candidate", {"kind": "latency", "maximum_milliseconds": 5.0}, "put it under staging or champion"),
        ("candidate", {"kind": "approval", "approvers": ["ada"]}, "put it under"),
        ("data", ABSOLUTE, "no evidence at the data gate"),
        ("probation", {"kind": "size", "maximum_megabytes": 5.0}, "no evidence at the probation gate"),
        ("champion", {"kind": "relative", "version": 0, **PAIRED}, "greater than or equal to 1"),
        ("champion", {"kind": "relative", "version": "latest", **PAIRED}, "previous"),
        ("champion", {"kind": "relative", "version": True, **PAIRED}, "valid integer"),
        ("champion", {"kind": "non_inferiority", **PAIRED, "margin": float("nan")}, "finite"),
        ("champion", {"kind": "non_inferiority", **PAIRED, "margin": float("inf")}, "finite"),
        ("champion", {"kind": "non_inferiority", **PAIRED, "seed": -1}, "greater than or equal to 0"),
        ("champion", {"kind": "non_inferiority", **PAIRED, "resamples": 10}, "greater than or equal to 1000"),
        ("champion", {"kind": "non_inferiority", **PAIRED, "confidence": 0.999, "resamples": 2000},
         "needs resamples >= 10000"),
        ("champion", {"kind": "absolute", "metric": "accuracy"}, "exactly one of minimum and maximum"),
        ("champion", {"kind": "slice", "metric": "accuracy", "by": ["x"]}, "one of minimum, maximum and margin"),
        ("champion", {"kind": "slice", "metric": "accuracy", "minimum": 0.5}, "one of by (columns) and function"),
        ("champion", {"kind": "budget"}, "exactly one of maximum_seconds"),
        ("champion", {"kind": "fairness", "metric": "accuracy", "by": [], "maximum_gap": 0.1}, "at least 1 item"),
        ("champion", {"kind": "approval", "approvers": ["ada", "ada"]}, "every approver once"),
        ("champion", {"kind": "surprise"}, "does not match any of the expected tags"),
    ],
)  # fmt: skip
def test_malformed_checks_do_not_parse(gate: str, check: dict[str, Any], words: str) -> None:
    assert words in malformed(gate, check)


def test_the_same_check_twice_and_an_empty_gate_are_refused() -> None:
    assert "the same absolute check as 0" in malformed("candidate", ABSOLUTE, ABSOLUTE)
    assert "gates.staging has no checks" in malformed("staging")


def test_every_problem_is_told_at_once() -> None:
    bad = [
        {"kind": "absolute", "metric": "acuracy", "minimum": 0.5},
        {"kind": "absolute", "metric": "ece", "minimum": 0.1},
    ]
    with pytest.raises(ConfigurationError) as caught:
        validate_policy(policy(candidate=bad), "classification", CLASSES)
    assert [line[:18] for line in str(caught.value).splitlines()] == ["gates.candidate.0:", "gates.candidate.1:"]


@pytest.mark.parametrize("gate", ["candidate", "staging", "champion"])
def test_a_gate_that_the_first_model_could_never_pass_is_refused(gate: str) -> None:
    comparing = [
        {"kind": "anchor", "metric": "accuracy", "maximum_loss": 0.1},
        {"kind": "slice", "metric": "accuracy", "by": ["x"], "margin": 0.1},
        {"kind": "relative", "version": 3, **PAIRED},
        {"kind": "attribution", "maximum_shift": 0.3},
    ]
    with pytest.raises(ConfigurationError, match=f"gates.{gate}: the first model would have no check"):
        validate_policy(policy(**{gate: comparing}), "classification", CLASSES)
    assert validate_policy(policy(**{gate: [*comparing, ABSOLUTE]}), "classification", CLASSES) is not None


def test_columns_are_held_against_those_that_rows_carry() -> None:
    check = {"kind": "fairness", "metric": "accuracy", "by": ["regoin"], "maximum_gap": 0.1}
    assert "did you mean 'region'" in refused(check, columns=("region", "device"))
    assert validate_policy(policy(candidate=[ABSOLUTE, check]), "classification", CLASSES) == []  # not known yet


def test_a_perturbation_that_this_input_does_not_allow_is_refused(
    digits_spec: PipelineSpec, digits_workload: Workload
) -> None:
    check = {
        "kind": "robustness", "metric": "accuracy", "maximum_drop": 0.1,
        "perturbation": {"kind": "token_dropout", "fraction": 0.1},
    }  # fmt: skip
    gates = GatePolicy.model_validate({**digits_spec.gates.model_dump(), "candidate": [ABSOLUTE, check]})
    with pytest.raises(ConfigurationError, match="token_dropout needs integer tokens"):
        check_gates(digits_spec.model_copy(update={"gates": gates}), digits_workload)


def test_losses_that_could_add_up_are_warned_about() -> None:
    drifting = {"kind": "non_inferiority", "metric": "f1_macro", "margin": 0.05}
    anchor = {"kind": "anchor", "metric": "f1_macro", "maximum_loss": 0.1}
    warned = validate_policy(policy(champion=[*GOOD["champion"], drifting]), "classification", CLASSES)
    assert any("f1_macro may fall by 0.05 with every promotion" in note for note in warned)
    assert validate_policy(policy(champion=[*GOOD["champion"], drifting, anchor]), "classification", CLASSES) == []


# --- power ---------------------------------------------------------------------------------------------------------


def notes_of(check: dict[str, Any], **pilot: Any) -> list[str]:
    found = power_notes(
        policy(champion=[ABSOLUTE, check]),
        Pilot(test_share=0.5, metrics=metrics_for("classification", CLASSES), **pilot),
    )
    return [note for note in found if note.startswith("gates.champion.1")]


@pytest.mark.parametrize("kind", ["non_inferiority", "anchor", "relative", "robustness"])
def test_a_margin_says_how_many_rows_it_needs(kind: str) -> None:
    field = {"anchor": "maximum_loss", "robustness": "maximum_drop"}.get(kind, "margin")
    check: dict[str, Any] = {"kind": kind, "metric": "accuracy", field: 0.02}
    check |= {"version": 1} if kind == "relative" else {}
    if kind == "robustness":
        check |= {"perturbation": {"kind": "gaussian_noise", "sigma": 0.1}, "compare": "interval"}
    assert "with 619 test rows (1238 records" in notes_of(check)[0]
    assert "choose a margin of 0.050" in notes_of(check, test_rows=100)[0]
    assert notes_of(check, test_rows=700) == []


def test_errors_are_measured_where_two_models_have_been_compared(classified: Any) -> None:
    check = {"kind": "non_inferiority", "metric": "log_loss", "margin": 0.05}
    assert "is known once a champion has been compared" in notes_of(check, test_rows=400)[0]
    known: dict[str, RowOutputs] = {"ours": classified(seed=1), "theirs": classified(seed=2)}
    measured = notes_of(check, test_rows=400, **known)[0]
    assert "as the newest comparison measured it" in measured
    assert notes_of(check, test_rows=4_000_000, **known) == []


def test_a_superiority_check_says_which_gain_it_can_show() -> None:
    check = {"kind": "superiority", "metric": "accuracy"}
    assert "a gain of 0.050 in accuracy is shown" in notes_of(check, test_rows=100)[0]


def test_slices_say_when_they_can_hardly_pass(classified: Any) -> None:
    check = {"kind": "slice", "metric": "accuracy", "by": ["side"], "minimum": 0.9}
    assert "a slice of 30 rows passes" in notes_of(check, test_rows=1000)[0]
    rows = classified(n=400)
    rows.columns["side"] = ["rare"] * 20 + ["common"] * 380
    assert "side=rare, with 20 rows is below minimum_rows 30" in notes_of(check, test_rows=400, ours=rows)[0]
    gone = {**check, "by": ["nothing"]}
    assert "no column 'nothing'" in notes_of(gone, test_rows=400, ours=rows)[0]


@pytest.mark.parametrize("compare", ["absolute", "paired"])
def test_power_of_a_ranking_is_measured_in_rows_and_not_guessed(compare: str) -> None:
    """Its error is one of 100 queries; 400 rows are 20 of these and not 400."""
    rng = np.random.default_rng(0)
    query = [str(i // 20) for i in range(2000)]  # 100 queries
    y = (np.arange(2000) % 4 == 0).astype(np.float32)
    ours, theirs = (
        RowOutputs(
            ids=[str(i) for i in range(2000)], y=y, columns={"@group": query},
            output=(y + rng.normal(0, 1, 2000)).astype(np.float32),
        )
        for _ in range(2)
    )  # fmt: skip
    check: dict[str, Any] = {"metric": "ndcg_at_5"}
    check |= {"kind": "absolute", "minimum": 0.85, "compare": "interval"} if compare == "absolute" else {}
    check |= {"kind": "non_inferiority", "margin": 0.05} if compare == "paired" else {}
    asked = policy(
        champion=[check], candidate=[{"kind": "absolute", "metric": "ndcg_at_5", "minimum": 0.5}],
    )  # fmt: skip

    def notes(rows: int, **pilot: Any) -> list[str]:
        return power_notes(asked, Pilot(test_share=0.5, test_rows=rows, metrics=metrics_for("ranking", ()), **pilot))

    assert all("is known once a champion has been compared" in note for note in notes(400))
    (few,) = notes(400, ours=ours, theirs=theirs)
    assert "with 400 test rows" in few or "the champion had 400" in few
    assert notes(200_000, ours=ours, theirs=theirs) == []


@pytest.mark.parametrize("measure", ["class_count", "smallest_class_rows", "label_prior_shift"])
def test_a_measure_of_classes_is_refused_where_there_are_none(measure: str) -> None:
    """It would never be measured, and the gate would hold every model."""
    asked = policy(
        data=[
            {"kind": "data", "measure": "rows", "minimum": 1.0},
            {"kind": "data", "measure": measure, "maximum": 1.0},
        ],
        candidate=[{"kind": "absolute", "metric": "rmse", "maximum": 1.0}],
        champion=[{"kind": "absolute", "metric": "rmse", "maximum": 1.0}],
    )
    with pytest.raises(ConfigurationError, match=f"{measure} is never measured: a regression has no classes"):
        validate_policy(asked, "regression", ())


@pytest.mark.parametrize("metric", ["roc_auc_macro", "average_precision_class_new", "log_loss", "f1_class_new"])
def test_a_class_that_is_newer_than_the_champion_is_no_crash(metric: str, classified: Any) -> None:
    """`ratchet validate` after a class was added to the pipeline file."""
    metrics = metrics_for("classification", ("x", "y", "z", "new"))
    a, b = classified(seed=1), classified(seed=2)
    asked = policy(champion=[{"kind": "non_inferiority", "metric": metric, "margin": 0.01}, ABSOLUTE])
    notes = power_notes(asked, Pilot(test_share=0.25, test_rows=400, ours=a, theirs=b, metrics=metrics))
    assert all(isinstance(note, str) for note in notes)
    newer = replace(a, y=np.where(np.arange(len(a.y)) < 40, 3, a.y))
    estimate = metrics[metric].estimate(newer)
    assert math.isfinite(estimate.value) or estimate.reason


@pytest.mark.parametrize(("kind", "field"), [("non_inferiority", "margin"), ("absolute", "minimum")])
def test_a_check_that_no_rows_so_few_can_answer_is_named_before_anything_trains(kind: str, field: str) -> None:
    """It was said of 40 rows that a model passes there; the gate is inconclusive whatever they show."""
    compare = {"compare": "interval"} if kind == "absolute" else {}
    floor = {"kind": "absolute", "metric": "r2", "minimum": 0.2}
    asked = policy(candidate=[floor], champion=[floor, {"kind": kind, "metric": "r2", field: 0.045, **compare}])

    def notes(**pilot: Any) -> list[str]:
        return power_notes(asked, Pilot(test_share=0.3, metrics=metrics_for("regression", ()), **pilot))

    (few,) = notes(test_rows=40)
    assert "inconclusive for every model: 40 rows are too few for r2, which has no bound" in few
    assert "59 rows settle it, or a metric that has bounds (197 records)" in few
    assert not any("inconclusive" in note for note in notes(test_rows=88))
    if kind == "non_inferiority":
        assert "59 are needed for any: 197 records" in notes()[0]
