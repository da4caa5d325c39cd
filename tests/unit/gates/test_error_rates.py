"""Checks over several slices or groups keep their stated error: simulated where the truth is just at the bound."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.gates.judge import judge
from mlratchet.models.gates.kinds import AnyCheck
from mlratchet.models.metrics.rows import RowOutputs
from pydantic import TypeAdapter
from scipy.stats import binom

PARSE = TypeAdapter(AnyCheck).validate_python
ROUNDS, ALPHA, ROWS = 200, 0.05, 150


def scored(accuracy: dict[str, float], rng: np.random.Generator) -> RowOutputs:
    """ROWS rows per slice, each right with the slice's probability."""
    sides = [name for name in accuracy for _ in range(ROWS)]
    n = len(sides)
    right = rng.random(n) < np.repeat(list(accuracy.values()), ROWS)
    y = rng.integers(0, 2, n)
    output = np.zeros((n, 2), dtype=np.float32)
    output[np.arange(n), np.where(right, y, 1 - y)] = 3.0
    return RowOutputs(ids=[str(i) for i in range(n)], y=y, output=output, columns={"side": sides})


def verdicts(check: dict[str, Any], accuracy: dict[str, float]) -> Counter[str]:
    parsed, found = PARSE(check), Counter[str]()
    for seed in range(ROUNDS):
        rows = scored(accuracy, np.random.default_rng(seed))
        result = judge(
            "champion", [parsed], Evidence(candidate=rows), first_model=False, task="classification",
            class_names=("no", "yes"),
        )  # fmt: skip
        found[result.verdict] += 1
    return found


def at_most(rate: float) -> int:
    """So many of ROUNDS are no surprise (1 in 1,000) when the true rate is `rate`."""
    return int(binom.ppf(0.999, ROUNDS, rate))


SLICE = {"kind": "slice", "metric": "accuracy", "by": ["side"], "minimum": 0.8}
FAIRNESS = {"kind": "fairness", "metric": "accuracy", "by": ["side"], "maximum_gap": 0.15, "compare": "interval"}


@pytest.mark.parametrize("bad", [1, 4])
def test_slices_at_the_bound_pass_no_more_often_than_stated(bad: int) -> None:
    """The worst case of a pass that should not be: some slices are exactly at the bound, the others far above."""
    accuracy = {f"s{i}": 0.8 if i < bad else 0.99 for i in range(4)}
    found = verdicts(SLICE, accuracy)
    assert found["pass"] <= at_most(ALPHA)
    assert found["fail"] <= at_most(ALPHA)  # nor is a slice at the bound called bad more often


def test_good_slices_pass_and_one_bad_slice_fails() -> None:
    assert verdicts(SLICE, {f"s{i}": 0.97 for i in range(4)})["pass"] >= 0.95 * ROUNDS
    assert verdicts(SLICE, {"s0": 0.6, "s1": 0.97, "s2": 0.97, "s3": 0.97})["fail"] >= 0.95 * ROUNDS


@pytest.mark.parametrize("accuracy", [{"a": 0.95, "b": 0.8}, {"a": 0.95, "b": 0.8, "c": 0.9, "d": 0.88}])
def test_a_gap_at_the_maximum_passes_no_more_often_than_stated(accuracy: dict[str, float]) -> None:
    found = verdicts(FAIRNESS, accuracy)
    assert found["pass"] <= at_most(ALPHA)
    assert found["fail"] <= at_most(ALPHA)


def test_a_small_gap_passes_and_a_large_one_fails() -> None:
    assert verdicts(FAIRNESS, {"a": 0.95, "b": 0.94})["pass"] >= 0.9 * ROUNDS
    assert verdicts(FAIRNESS, {"a": 0.98, "b": 0.6})["fail"] >= 0.95 * ROUNDS
