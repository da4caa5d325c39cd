"""The check `baseline`: the candidate against a linear model of the same run, the first model, too."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.evaluation.baselines import Baseline
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.gates.judge import judge
from mlratchet.models.gates.needs import demands_of
from mlratchet.models.gates.policy import GatePolicy
from mlratchet.models.gates.result import CheckResult
from mlratchet.models.gates.validation import validate_policy
from mlratchet.models.metrics.rows import RowOutputs

DATASET, CLASSES, N = "d" * 64, ("0", "1", "2"), 500
ABSOLUTE = {"kind": "absolute", "metric": "accuracy", "minimum": 0.1}
CHECK = {"kind": "baseline", "metric": "accuracy", "resamples": 1000}


def scored(seed: int, accuracy: float, ids: str = "r") -> RowOutputs:
    rng = np.random.default_rng(seed)
    y = np.arange(N) % 3
    output = rng.normal(0, 0.5, (N, 3)).astype(np.float32)
    output[np.arange(N), np.where(rng.random(N) >= accuracy, (y + 1) % 3, y)] += 4.0
    return RowOutputs(ids=[f"{ids}{i}" for i in range(N)], y=y, output=output, dataset_id=DATASET)


def policy(*checks: dict[str, Any]) -> GatePolicy:
    every = {"data": [{"kind": "data", "measure": "rows", "minimum": 1}], "champion": [ABSOLUTE]}
    staging = [{"kind": "parity", "maximum_difference": 0.1}]
    return GatePolicy.model_validate({**every, "staging": staging, "candidate": [ABSOLUTE, *checks]})


def judged(candidate: RowOutputs, baseline: RowOutputs | None, **changes: Any) -> CheckResult:
    found = {"linear": Baseline(outputs=baseline, trained_on=50, of=900, penalty=1.0)} if baseline is not None else {}
    evidence = Evidence(
        dataset_id=DATASET, candidate=candidate, baselines=found, missing={"linear baseline": "it would not"}
    )
    asked = policy({**CHECK, **changes}).checks("candidate")[1]
    result = judge("candidate", [asked], evidence, first_model=True, task="classification", class_names=CLASSES)
    return result.checks[0]


def test_a_better_model_passes_also_as_the_first_one() -> None:
    result = judged(scored(1, 0.95), scored(2, 0.80))
    assert result.verdict == "pass"
    assert result.value == pytest.approx(0.15, abs=0.03)
    assert result.interval is not None
    assert result.n == N
    assert "gain over the linear baseline, trained on 50 of 900 rows" in result.reason


def test_a_model_that_is_no_better_does_not() -> None:
    assert judged(scored(1, 0.80), scored(2, 0.80)).verdict == "inconclusive"
    assert judged(scored(1, 0.60), scored(2, 0.80)).verdict == "fail"
    chance = judged(scored(1, 1 / 3), scored(2, 1 / 3))  # of shuffled labels both know nothing
    assert chance.verdict in ("fail", "inconclusive")


def test_a_margin_asks_for_more_and_an_estimate_for_less() -> None:
    assert judged(scored(1, 0.95), scored(2, 0.80), margin=0.2).verdict != "pass"
    assert judged(scored(1, 0.82), scored(2, 0.80)).verdict == "inconclusive"
    assert judged(scored(1, 0.82), scored(2, 0.80), compare="estimate").verdict == "pass"


def test_no_baseline_and_one_of_other_rows_never_pass() -> None:
    missing = judged(scored(1, 0.95), None)
    assert (missing.verdict, "it would not" in missing.reason) == ("inconclusive", True)
    assert judged(scored(1, 0.95), scored(2, 0.80, ids="other")).verdict == "inconclusive"
    foreign = dataclasses.replace(scored(2, 0.8), dataset_id="e" * 64)
    assert judged(scored(1, 0.95), foreign).verdict == "inconclusive"
    broken = scored(2, 0.8)
    broken.output[3, 1] = np.nan
    assert judged(scored(1, 0.95), broken).verdict == "inconclusive"


def test_each_model_is_asked_for_once() -> None:
    asked = demands_of(policy(CHECK, {**CHECK, "metric": "log_loss"}, {**CHECK, "metric": "f1_macro", "model": "bias"}))
    assert asked.baselines == ("linear", "bias")
    assert demands_of(policy()).baselines == ()


def test_what_could_never_hold_is_refused_before_anything_trains() -> None:
    validate_policy(policy(CHECK), "classification", CLASSES)
    with pytest.raises(ConfigurationError, match="margin 1 never holds"):
        validate_policy(policy({**CHECK, "margin": 1.0}), "classification", CLASSES)
    with pytest.raises(ConfigurationError, match="acuracy"):
        validate_policy(policy({**CHECK, "metric": "acuracy"}), "classification", CLASSES)
    with pytest.raises(ValueError, match="linear"):
        policy({**CHECK, "model": "quadratic"})
