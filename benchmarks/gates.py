"""Paired bootstrap of four metrics over a million rows against scipy.stats.bootstrap.

    python benchmarks/gates.py [--rows 1000000] [--resamples 10000] [--rounds 5] [--full]

Both sides get the same per-row outputs of two models and answer with 90 % percentile intervals of the paired difference
of accuracy, macro F1, log loss and expected calibration error. SciPy gets what a careful user would give it: per-row
quantities computed beforehand, `paired=True`, vectorised statistics, small batches so that memory is
bounded. Each round runs ours with all resamples and SciPy with `--sample` of them, scaled; `--full` runs SciPy once
with all of them, which is the ratio that counts, and compares the intervals' ends in units of their Monte-Carlo error.
The limit beside them is one pass over memory per resample: drawing the indices of one resample and nothing else.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import scipy
import torch
from mlratchet.models.evaluation.statistics import Interval, paired_bootstrap
from mlratchet.models.evaluation.statistics.quantity import Quantity
from mlratchet.models.metrics import log_probabilities
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.naming import metrics_for
from scipy import stats

RESULTS = Path(__file__).parent / "results"
METRICS = ("accuracy", "f1_macro", "log_loss", "ece")
CLASSES, CONFIDENCE, BATCH = 10, 0.9, 4


def two_models(rows: int) -> tuple[RowOutputs, RowOutputs]:
    """Outputs that agree on most rows, as two trainings of one model do."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, CLASSES, rows)
    shared = rng.normal(0, 1, (rows, CLASSES)).astype(np.float32)
    shared[np.arange(rows), y] += 3
    ids = [str(i) for i in range(rows)]
    made = []
    for scale in (1.0, 1.1):
        output = scale * (shared + rng.normal(0, 0.3, shared.shape).astype(np.float32))
        made.append(RowOutputs(ids=ids, y=y, output=output.astype(np.float32)))
    return made[0], made[1]


def ours(a: RowOutputs, b: RowOutputs, resamples: int) -> dict[str, Interval]:
    """From per-row outputs, all preparation included."""
    metrics = metrics_for("classification", tuple(map(str, range(CLASSES))))
    return {
        name: paired_bootstrap(metrics[name], a, b, confidence=CONFIDENCE, resamples=resamples, seed=1)
        for name in METRICS
    }


def mean_difference(x: Any, y: Any, axis: int) -> Any:
    return x.mean(axis=axis) - y.mean(axis=axis)


def f1(counts: Any) -> float:
    """(C, C) counts, label by prediction -> macro F1."""
    return float(np.mean(2 * np.diag(counts) / (counts.sum(axis=0) + counts.sum(axis=1))))


def f1_difference(codes: Any) -> float:
    """Of joint codes label, prediction of a, prediction of b."""
    counts = np.bincount(codes, minlength=CLASSES**3).reshape(CLASSES, CLASSES, CLASSES)
    return f1(counts.sum(axis=2)) - f1(counts.sum(axis=1))


def ece_difference(bin_a: Any, gap_a: Any, bin_b: Any, gap_b: Any) -> float:
    of_a, of_b = (np.abs(np.bincount(b, g, minlength=15)).sum() for b, g in ((bin_a, gap_a), (bin_b, gap_b)))
    return float(of_a - of_b) / len(bin_a)


def each(statistic: Callable[..., float]) -> Callable[..., Any]:
    """Over a batch of resamples, without the copy to float64 that `vectorized=False` makes."""

    def over(*arrays: Any, axis: int) -> Any:
        assert axis == -1
        if arrays[0].ndim == 1:
            return statistic(*arrays)
        return np.array([statistic(*(array[i] for array in arrays)) for i in range(len(arrays[0]))])

    return over


def scipy_sides(a: RowOutputs, b: RowOutputs) -> dict[str, Callable[[int], Any]]:
    """Metric -> a run of so many resamples."""
    correct, loss, bins, gap = [], [], [], []
    for side in (a, b):
        log_p = log_probabilities(side.output)
        right, confidence = side.output.argmax(1) == side.y, np.exp(log_p.max(1))
        correct.append(right.astype(np.float64))
        loss.append(-log_p[np.arange(len(side.y)), side.y])
        bins.append(np.minimum((confidence * 15).astype(np.int64), 14))
        gap.append(right - confidence)
    codes = (a.y * CLASSES + a.output.argmax(1)) * CLASSES + b.output.argmax(1)
    data: dict[str, tuple[Any, ...]] = {
        "accuracy": (tuple(correct), mean_difference),
        "f1_macro": ((codes,), each(f1_difference)),
        "log_loss": (tuple(loss), mean_difference),
        "ece": ((bins[0], gap[0], bins[1], gap[1]), each(ece_difference)),
    }

    def run(name: str) -> Callable[[int], Any]:
        samples, statistic = data[name]
        return lambda resamples: stats.bootstrap(
            samples, statistic, paired=len(samples) > 1, vectorized=True, n_resamples=resamples, batch=BATCH,
            confidence_level=CONFIDENCE, method="percentile", rng=2,
        )  # fmt: skip

    return {name: run(name) for name in METRICS}


class Peak:
    """Largest resident memory of this process beyond what it had, in MB."""

    def __enter__(self) -> Peak:
        self.process, self.mb, self.done = psutil.Process(), 0.0, threading.Event()
        before = self.process.memory_info().rss

        def watch() -> None:
            while not self.done.wait(0.01):
                self.mb = max(self.mb, (self.process.memory_info().rss - before) / 1e6)

        self.thread = threading.Thread(target=watch)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()


def timed(run: Callable[[], Any]) -> tuple[Any, float, float]:
    """Result, wall seconds, CPU seconds."""
    began, began_cpu = time.perf_counter(), time.process_time()
    found = run()
    return found, time.perf_counter() - began, time.process_time() - began_cpu


def in_errors(mine: Interval, theirs: Any, standard_error: float, resamples: tuple[int, int]) -> float:
    """Largest distance of the ends over the standard error of the difference of two Monte-Carlo quantiles."""
    tail = (1 - CONFIDENCE) / 2
    density = stats.norm.pdf(stats.norm.ppf(tail))
    error = standard_error / density * np.sqrt(tail * (1 - tail) * sum(1 / r for r in resamples))
    return float(max(abs(mine.low - theirs.low), abs(mine.high - theirs.high)) / error)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--resamples", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sample", type=int, default=40, help="resamples of SciPy per round")
    parser.add_argument("--full", action="store_true", help="run SciPy once with all resamples")
    options = parser.parse_args()
    a, b = two_models(options.rows)
    theirs = scipy_sides(a, b)
    print(f"numpy {np.__version__}, scipy {scipy.__version__}, {len(os.sched_getaffinity(0))} cores")
    with Peak() as peak:
        intervals = ours(a, b, options.resamples)  # the warm-up
    mine: list[tuple[float, float]] = []
    sampled: dict[str, list[float]] = {name: [] for name in METRICS}
    limit = []
    rng = np.random.default_rng(3)
    for _ in range(options.rounds):
        mine.append(timed(lambda: ours(a, b, options.resamples))[1:])
        for name, run in theirs.items():
            taken = timed(lambda run=run: run(options.sample))[1]
            sampled[name].append(taken * options.resamples / options.sample)
        limit.append(timed(lambda: [rng.integers(0, options.rows, options.rows) for _ in range(10)])[1] / 10)
    our_s = statistics.median(wall for wall, _ in mine)
    scaled = {name: statistics.median(taken) for name, taken in sampled.items()}
    row: dict[str, Any] = {
        "claim": "gates", "date": dt.date.today().isoformat(), "torch": torch.__version__, "numpy": np.__version__,
        "scipy": scipy.__version__, "machine": platform.machine(), "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0], "rows": options.rows, "resamples": options.resamples, "rounds": options.rounds,
        "sample": options.sample, "ours_s": round(our_s, 2),
        "ours_range_s": [round(min(mine)[0], 2), round(max(mine)[0], 2)],
        "ours_cpu_s": round(statistics.median(cpu for _, cpu in mine), 2), "ours_peak_mb": round(peak.mb),
        "limit_s": round(len(METRICS) * options.resamples * statistics.median(limit), 1),
        "scipy_scaled_s": {name: round(value, 1) for name, value in scaled.items()},
        "ratio_scaled": round(sum(scaled.values()) / our_s, 1), "full": options.full,
    }  # fmt: skip
    metrics = metrics_for("classification", tuple(map(str, range(CLASSES))))
    count = options.resamples if options.full else options.sample * options.rounds
    ends, taken_s = {}, {}
    for name, run in theirs.items():
        found, taken_s[name], _ = timed(lambda run=run: run(count))
        error = Quantity(metric=metrics[name], sides=(a, b)).spread().error
        ends[name] = round(in_errors(intervals[name], found.confidence_interval, error, (options.resamples, count)), 2)
        print(
            name, intervals[name], found.confidence_interval, f"{taken_s[name]:.1f} s, {ends[name]} errors", flush=True
        )
    row["agreement_resamples"], row["ends_in_monte_carlo_errors"] = count, ends
    if options.full:
        row["scipy_s"] = {name: round(value, 1) for name, value in taken_s.items()}
        row["ratio"] = round(sum(taken_s.values()) / our_s, 1)
    print(json.dumps(row, indent=1))
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / "gates.jsonl").open("a") as sink:
        sink.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
