"""Property: the order of classes, columns, files and rows changes no verdict and no number of a gate."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mlratchet.models.data.preprocess import read_dataset_records, write_dataset
from mlratchet.models.data.quality import Names, inspect
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.gates.judge import judge_gate
from mlratchet.tasks.steps.evaluate import evaluate

from .conftest import Road, summing
from .test_joined_by_name import layout

COLUMNS, CLASSES = ("a", "b", "c"), ("high", "low", "mid")
CHECKS = (
    "{kind: non_inferiority, metric: accuracy, margin: 0.05}",
    "{kind: superiority, metric: f1_macro}",
    "{kind: non_inferiority, metric: log_loss, margin: 0.1}",
    "{kind: non_inferiority, metric: roc_auc_macro, margin: 0.05}",
    "{kind: slice, metric: accuracy, by: [region], margin: 0.1}",
    "{kind: absolute, metric: recall_class_mid, minimum: 0.2}",
)


def answers(columns: tuple[str, ...], classes: tuple[str, ...], spread: float) -> Any:
    """A model of named columns and classes whose numbers are sums of quarters: no order of adding changes them. Classes
    begin at different numbers: where two tie, a model answers the one that it lists first."""
    weights = {"low": {"a": -2.0, "b": 0.25}, "mid": {"b": spread}, "high": {"a": 2.0, "c": 0.5}}
    bias = [{"low": 0.0, "mid": 1 / 64, "high": 1 / 32}[name] for name in classes]
    return summing({name: weights[name] for name in classes}, columns, bias)


def deliver(road: Road, rows: list[dict[str, str]], order: list[int], columns: tuple[str, ...], files: int) -> None:
    for info in list(road.raw.list()):
        road.raw.delete(info.key)
    header = [*columns, "label", "region"]
    for part in range(files):
        lines = [",".join(header)] + [",".join(rows[i][name] for name in header) for i in order[part::files]]
        road.raw.put(f"t/{part}.csv", "\n".join(lines).encode())


def rows_of(seed: int) -> list[dict[str, str]]:
    rng = np.random.default_rng(seed)
    found = []
    for number in range(240):
        a, b, c = (rng.integers(-8, 9, 3) / 4).tolist()
        label = "high" if a > 0.5 else "low" if a < -0.5 else "mid"
        if rng.random() < 0.2:
            label = str(rng.choice(CLASSES))
        found.append({"a": f"{a}", "b": f"{b}", "c": f"{c}", "label": label, "region": "eu" if number % 3 else "us"})
    return found


def judged(road: Road, rows: list[dict[str, str]], order: list[int], files: int, ours: Any, theirs: Any) -> Any:
    """Everything that the champion gate and the data gate say."""
    (columns, classes), (their_columns, their_classes) = ours, theirs
    deliver(road, rows, order, columns, files)
    listed = ", ".join(f'"{name}"' for name in classes)
    run = road.run(*CHECKS, gate="champion", parameters=f"{{columns: [{', '.join(columns)}], classes: [{listed}]}}")
    snapshot = take_snapshot(road.raw, road.store, prefix="t/")
    records, rejects = read_dataset_records(road.store, snapshot, run.workload, run.spec.source)
    dataset = write_dataset(
        road.store, snapshot, records, "w", run.spec.workload, run.spec.data, run.spec.source,
        class_names=classes, input_columns=columns,
    )  # fmt: skip
    incumbent = road.version(answers(their_columns, their_classes, 1.0), signature=layout(their_columns, their_classes))
    trained = road.trained_module(answers(columns, classes, 0.75))
    found = evaluate.fn(run, road.work(dataset, incumbent), dataset, trained)
    result = judge_gate(
        run.spec.gates, "champion", found.evidence(), first_model=False, task="classification", class_names=classes,
        now_s=0.0,
    )  # fmt: skip
    names = Names(classes=classes, columns=columns)
    quality = inspect(road.store, records, rejects, dataset, run.spec.data, classes, columns=columns, before=names)
    checks = [
        (c.kind, c.metric, c.verdict, np.nan if c.value is None else c.value, *(c.interval or ()), c.n)
        for c in result.checks
    ]
    return result.verdict, checks, {name: (m.value, m.n) for name, m in quality.measures.items()}


@pytest.mark.slow
@settings(max_examples=4, deadline=None, phases=(Phase.generate,), suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 1000),
    shuffled=st.randoms(use_true_random=False),
    files=st.integers(1, 3),
    ours=st.tuples(st.permutations(COLUMNS), st.permutations(CLASSES)),
    theirs=st.tuples(st.permutations(COLUMNS), st.permutations(CLASSES)),
)
def test_order_changes_no_verdict_and_no_number(
    make_road: Any, seed: int, shuffled: Any, files: int, ours: Any, theirs: Any
) -> None:
    rows = rows_of(seed)
    order = list(range(len(rows)))
    plain = judged(make_road(), rows, order, 1, (COLUMNS, CLASSES), (COLUMNS, CLASSES))
    shuffled.shuffle(order)
    again = judged(make_road(), rows, order, files, tuple(map(tuple, ours)), tuple(map(tuple, theirs)))
    assert again[0] == plain[0]
    for now, then in itertools.zip_longest(again[1], plain[1]):
        assert now[:3] == then[:3]
        assert now[3:] == pytest.approx(
            then[3:], rel=1e-9, abs=1e-12, nan_ok=True
        )  # sums over classes are added in their order
    assert again[2] == plain[2]
    assert [check[2] for check in plain[1]].count("inconclusive") < len(CHECKS)
    assert not np.isnan(plain[1][0][3])  # something was compared
