"""How often each statistical check promotes or holds wrongly, against what it states; writes the table of
docs/statistics.md.

    python benchmarks/simulations.py [--datasets 1000] [--check NAME ...]

From 1,000 units on half as many data sets.

Every check draws data sets of n units from a population whose true value is known, asks the library for bounds, and
counts:

- false promotions: the lower bound of the gain lies above the true gain. It is the rate at which a candidate exactly as
  bad as the margin (or the threshold) allows is promoted, whatever the margin. Stated: at most 5 %.
- false failures: the upper bound lies below the true gain: a candidate just inside its margin is called surely worse.
  Stated: at most 5 %.
- held: a candidate of the stated true gain is not promoted at the margin that `detectable_difference` (for accuracy
  `detectable_margin`) says passes four times in five. Stated: 20 %.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from mlratchet.models.evaluation.statistics.choose import confidence_of, confidence_of_difference
from mlratchet.models.evaluation.statistics.interval import Confidence
from mlratchet.models.evaluation.statistics.power import detectable_difference
from mlratchet.models.metrics import Metric, metrics_for
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.sources.record import GROUP_COLUMN
from scipy.special import expit, ndtr, ndtri

ALPHA, POWER, RESAMPLES = 0.05, 0.8, 1000
TRUTH_ROWS = 2_000_000
DOCS = Path(__file__).parent.parent / "docs" / "statistics.md"
RESULTS = Path(__file__).parent / "results" / "simulations.jsonl"
Rows = tuple[RowOutputs, RowOutputs | None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Population:
    """A world: how rows come about, the metric, and its true value (of the difference, when two models are drawn)."""

    name: str
    effect: str
    metric: Metric
    draw: Callable[[np.random.Generator, int], Rows]
    truth: float
    sizes: tuple[int, ...]
    cluster: str | None = None


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What was counted over the data sets of one population and size."""

    check: str
    effect: str
    n: int
    method: str
    datasets: int
    false_promotions: float
    false_failures: float
    held: float
    no_answer: float  # data sets without finite bounds, or with a doubt: inconclusive
    seconds: float


def rows(y: np.ndarray, output: np.ndarray, **columns: list[str]) -> RowOutputs:
    """Without the cost of real names."""
    return RowOutputs(ids=[""] * len(y), y=y, output=output.astype(np.float32), columns=columns)


def binary_metrics() -> dict[str, Metric]:
    return metrics_for("classification", ("no", "yes"))


def logits(z: np.ndarray) -> np.ndarray:
    """(N,) log odds -> (N, 2)."""
    return np.stack([np.zeros_like(z), z], axis=1)


def paired_accuracy(gain: float, disagreement: float, level: float, metric: str = "accuracy") -> Population:
    """Two classifiers right together on most rows; exactly one is right on `disagreement` of them."""
    gained, lost = (disagreement + gain) / 2, (disagreement - gain) / 2
    share = np.array([level - gained, gained, lost, 1 - level - lost])

    def draw(rng: np.random.Generator, n: int) -> Rows:
        kind = rng.choice(4, size=n, p=share)
        y = np.ones(n, dtype=np.int64)
        right_a, right_b = kind <= 1, (kind == 0) | (kind == 2)
        return rows(y, logits(np.where(right_a, 1.0, -1.0))), rows(y, logits(np.where(right_b, 1.0, -1.0)))

    effect = f"accuracy {level:.2f}, gain {gain:+.3f}, {disagreement:.0%} differ"
    sizes = (50, 200, 1000, 5000)
    return Population(
        name="accuracy, paired", effect=effect, metric=binary_metrics()[metric], draw=draw, truth=gain, sizes=sizes
    )


def joint_table(worse: float, classes: int, rare: float) -> np.ndarray:
    """(C, C, C) probabilities of label, prediction of a, prediction of b; the last class has share `rare`."""
    share = np.full(classes, (1 - rare) / (classes - 1))
    share[-1] = rare
    table = np.zeros((classes,) * 3)
    for label in range(classes):
        other = (label + 1) % classes
        both, only_a, only_b = 0.84, 0.04, 0.04 + worse
        table[label, label, label] = share[label] * both
        table[label, label, other] = share[label] * only_a
        table[label, other, label] = share[label] * only_b
        table[label, other, other] = share[label] * (1 - both - only_a - only_b)
    return table


def count_metric(name: str, worse: float, rare: float, *, paired: bool) -> Population:
    """Metrics of counts over three classes, one of them rarer."""
    table = joint_table(worse, 3, rare)
    metric = metrics_for("classification", ("a", "b", "c"))[name]
    cells = np.stack(np.unravel_index(np.arange(27), table.shape), axis=1)
    kept = cells[table.ravel() > 0]
    share = table.ravel()[table.ravel() > 0]

    def sides(kind: np.ndarray) -> Rows:
        label, a, b = kept[kind].T
        one = np.eye(3, dtype=np.float32)
        return rows(label, one[a]), rows(label, one[b]) if paired else None

    def value(side: RowOutputs | None) -> float:
        assert side is not None
        return float(metric.weighted(side, share[None])[0])

    a, b = sides(np.arange(len(kept)))
    return Population(
        name=f"{name}, {'paired' if paired else 'one model'}",
        effect=f"rarest class {rare:.0%}" + (f", a worse by {worse:.0%} of rows" if paired else ""),
        metric=metric, truth=value(a) - value(b) if paired else value(a), sizes=(50, 200, 1000, 5000),
        draw=lambda rng, n: sides(rng.choice(len(share), size=n, p=share)),
    )  # fmt: skip


def log_loss(name: str, noise_a: float, noise_b: float, *, paired: bool) -> Population:
    """A calibrated truth seen through the noise of each model; the true value is that of `TRUTH_ROWS` rows."""

    def draw(rng: np.random.Generator, n: int) -> Rows:
        z = rng.normal(0, 2, n)
        y = (rng.random(n) < expit(z)).astype(np.int64)
        shared, own = rng.normal(0, 1, n), rng.normal(0, 1, (2, n))
        a, b = (z + noise * (0.8 * shared + 0.6 * o) for noise, o in zip((noise_a, noise_b), own, strict=True))
        return rows(y, logits(a)), rows(y, logits(b)) if paired else None

    metric = binary_metrics()[name]
    a, b = draw(np.random.default_rng(123), TRUTH_ROWS)
    truth = metric.value(a) - (metric.value(b) if b is not None else 0.0)
    return Population(
        name=f"{name}, {'paired' if paired else 'one model'}",
        effect=f"noise {noise_a} against {noise_b}" if paired else f"noise {noise_a}",
        metric=metric, draw=draw, truth=truth, sizes=(50, 200, 1000),
    )  # fmt: skip


def auc(shift_a: float, shift_b: float, positives: float, *, paired: bool) -> Population:
    """Binormal scores, correlated between the models: AUC = Phi(shift / sqrt 2)."""

    def draw(rng: np.random.Generator, n: int) -> Rows:
        y = (np.arange(n) < round(positives * n)).astype(np.int64)
        shared, own = rng.normal(0, 1, n), rng.normal(0, 1, (2, n))
        a, b = (shift * y + 0.8 * shared + 0.6 * o for shift, o in zip((shift_a, shift_b), own, strict=True))
        return rows(y, logits(a)), rows(y, logits(b)) if paired else None

    value_a, value_b = float(ndtr(shift_a / math.sqrt(2))), float(ndtr(shift_b / math.sqrt(2)))
    return Population(
        name=f"roc_auc, {'paired' if paired else 'one model'}",
        effect=f"AUC {value_a:.3f}" + (f" against {value_b:.3f}" if paired else "") + f", {positives:.0%} positive",
        metric=binary_metrics()["roc_auc"], draw=draw, truth=value_a - value_b if paired else value_a,
        sizes=(50, 200, 1000, 5000),
    )  # fmt: skip


def rmse(scale: float, tail: str, *, paired: bool) -> Population:
    """Correlated errors of two regressions; normal, or with the heavy tails of Student's t with 8 degrees."""

    def draw(rng: np.random.Generator, n: int) -> Rows:
        e = rng.normal(0, 1, (3, n))
        if tail == "heavy":
            e = e * np.sqrt(6 / rng.chisquare(8, n))  # variance 1
        y = rng.normal(0, 3, n)
        a, b = scale * (0.8 * e[0] + 0.6 * e[1]), 0.8 * e[0] + 0.6 * e[2]
        return rows(y, y + a), rows(y, y + b) if paired else None

    return Population(
        name=f"rmse, {'paired' if paired else 'one model'}",
        effect=f"rmse {scale:.2f}" + (" against 1" if paired else "") + f", {tail} tails",
        metric=metrics_for("regression", ())["rmse"], draw=draw, truth=scale - 1.0 if paired else scale,
        sizes=(50, 200, 1000),
    )  # fmt: skip


def clustered() -> Population:
    """Accuracy of groups of ten rows that share their difficulty; units are the groups."""
    size = 10

    def draw(rng: np.random.Generator, n: int) -> Rows:
        hard = np.repeat(rng.normal(0, 1, (n, 1)), size, axis=0)[:, 0]
        right = [rng.random(n * size) < ndtr(1.0 + hard) for _ in range(2)]
        y = np.ones(n * size, dtype=np.int64)
        group = [str(i // size) for i in range(n * size)]
        a, b = (rows(y, logits(np.where(r, 1.0, -1.0)), patient=group) for r in right)
        return a, b

    return Population(
        name="accuracy, paired, over clusters", effect="groups of 10 rows", metric=binary_metrics()["accuracy"],
        draw=draw, truth=0.0, sizes=(30, 100), cluster="patient",
    )  # fmt: skip


def clustered_share(level: float, spread: float) -> Population:
    """Accuracy of one model over groups that share their difficulty, the more the wider `spread`. Most are small, a few
    have dozens of rows."""
    centre = float(ndtri(level)) * math.sqrt(1 + spread**2)

    def draw(rng: np.random.Generator, n: int) -> Rows:
        group = np.repeat(np.arange(n), np.maximum(1, rng.lognormal(1, 1, n).round()).astype(int))
        hard = spread * rng.normal(0, 1, n)[group]
        right = rng.random(len(group)) < ndtr(centre + hard)
        y = np.ones(len(group), dtype=np.int64)
        return rows(y, logits(np.where(right, 1.0, -1.0)), patient=[str(one) for one in group]), None

    return Population(
        name="accuracy, one model, over clusters", draw=draw,
        effect=f"accuracy {level:.2f}, groups of 1 to 50 rows, spread {spread}",
        metric=binary_metrics()["accuracy"], truth=level, sizes=(15, 30, 100, 400), cluster="patient",
    )  # fmt: skip


def clustered_pairs() -> Population:
    """Two models that differ on 3 % of the rows, those of a group together."""

    def draw(rng: np.random.Generator, n: int) -> Rows:
        group = np.repeat(np.arange(n), rng.geometric(0.2, n))
        differ = rng.random(len(group)) < ndtr(float(ndtri(0.03)) * math.sqrt(2) + rng.normal(0, 1, n)[group])
        first, right = rng.integers(0, 2, n)[group] == 1, rng.random(len(group)) < 0.95
        y = np.ones(len(group), dtype=np.int64)
        patient = [str(one) for one in group]
        a, b = (
            rows(y, scale * logits(np.where(np.where(differ, who, right), 1.0, -1.0)), patient=patient)
            for who, scale in ((first, 1.0), (~first, 2.0))
        )
        return a, b

    return Population(
        name="accuracy, paired, over clusters", effect="3% differ, groups of 1 to 20 rows", draw=draw, truth=0.0,
        metric=binary_metrics()["accuracy"], sizes=(15, 30, 100, 400), cluster="patient",
    )  # fmt: skip


def nearly_faultless(name: str, error: float) -> Population:
    """A model that is wrong on so few of three classes' rows that many test sets show no error at all."""
    metric = metrics_for("classification", ("a", "b", "c"))[name]

    def sides(rng: np.random.Generator, n: int) -> Rows:
        y = rng.choice(3, size=n, p=[0.5, 0.3, 0.2])
        guess = np.where(rng.random(n) < error, (y + 1) % 3, y)
        return rows(y, np.eye(3, dtype=np.float32)[guess]), None

    truth = metric.value(sides(np.random.default_rng(123), TRUTH_ROWS)[0])
    return Population(
        name=f"{name}, one model", effect=f"{error:.1%} of rows wrong", metric=metric, draw=sides, truth=truth,
        sizes=(50, 200, 1000),
    )  # fmt: skip


def ndcg() -> Population:
    """NDCG@10 over queries of 12 rows, two equally noisy rankers."""
    size = 12

    def draw(rng: np.random.Generator, n: int) -> Rows:
        relevance = rng.integers(0, 3, n * size)
        shared, own = rng.normal(0, 1, n * size), rng.normal(0, 1, (2, n * size))
        group = [str(i // size) for i in range(n * size)]
        a, b = (rows(relevance, relevance + 0.8 * shared + 0.6 * o, **{GROUP_COLUMN: group}) for o in own)
        return a, b

    return Population(
        name="ndcg_at_10, paired", effect="equal rankers, 12 rows a query", draw=draw, truth=0.0,
        metric=metrics_for("ranking", ())["ndcg_at_10"], sizes=(30, 100),
    )  # fmt: skip


def one_share(level: float) -> Population:
    """Accuracy of one model."""

    def draw(rng: np.random.Generator, n: int) -> Rows:
        return rows(np.ones(n, dtype=np.int64), logits(np.where(rng.random(n) < level, 1.0, -1.0))), None

    return Population(
        name="accuracy, one model", effect=f"accuracy {level:.2f}", metric=binary_metrics()["accuracy"],
        draw=draw, truth=level, sizes=(50, 200, 1000, 5000),
    )  # fmt: skip


POPULATIONS: dict[str, Callable[[], list[Population]]] = {
    "accuracy-paired": lambda: [
        paired_accuracy(0.0, 0.04, 0.9),
        paired_accuracy(-0.02, 0.04, 0.9),
        paired_accuracy(0.02, 0.04, 0.9),
        paired_accuracy(0.0, 0.2, 0.7),
    ],
    "accuracy": lambda: [one_share(0.8), one_share(0.99)],
    "f1_macro-paired": lambda: [
        count_metric("f1_macro", 0.0, 0.2, paired=True),
        count_metric("f1_macro", 0.03, 0.2, paired=True),
        count_metric("f1_macro", 0.0, 0.05, paired=True),
    ],
    "f1_macro": lambda: [count_metric("f1_macro", 0.0, 0.2, paired=False)],
    "log_loss-paired": lambda: [
        log_loss("log_loss", 0.7, 0.7, paired=True),
        log_loss("log_loss", 1.0, 0.7, paired=True),
    ],
    "log_loss": lambda: [log_loss("log_loss", 0.7, 0.7, paired=False)],
    "ece-paired": lambda: [log_loss("ece", 1.5, 1.5, paired=True), log_loss("ece", 1.5, 0.7, paired=True)],
    "ece": lambda: [log_loss("ece", 1.5, 1.5, paired=False)],
    "roc_auc-paired": lambda: [
        auc(1.5, 1.5, 0.5, paired=True),
        auc(1.3, 1.5, 0.5, paired=True),
        auc(2.5, 2.5, 0.2, paired=True),
    ],
    "roc_auc": lambda: [auc(1.5, 1.5, 0.5, paired=False), auc(2.5, 2.5, 0.2, paired=False)],
    "average_precision-paired": lambda: [average_precision()],
    "rmse-paired": lambda: [
        rmse(1.0, "normal", paired=True),
        rmse(1.1, "normal", paired=True),
        rmse(1.0, "heavy", paired=True),
    ],
    "rmse": lambda: [rmse(1.0, "normal", paired=False), rmse(1.0, "heavy", paired=False)],
    "clusters": lambda: [clustered(), clustered_pairs(), clustered_share(0.9, 1.0), clustered_share(0.98, 2.0)],
    "faultless": lambda: [nearly_faultless("f1_macro", 0.005), nearly_faultless("precision_macro", 0.02)],
    "ndcg": lambda: [ndcg()],
}


def average_precision() -> Population:
    """As for the AUC; two equal models, so that the true difference is 0."""
    like = auc(1.5, 1.5, 0.3, paired=True)
    return Population(
        name="average_precision, paired", effect="equal models, 30% positive", truth=0.0, draw=like.draw,
        metric=binary_metrics()["average_precision"], sizes=(50, 200),
    )  # fmt: skip


def bounds(world: Population, drawn: Rows, seed: int) -> Confidence:
    """As a gate asks for them."""
    a, b = drawn
    if b is None:
        return confidence_of(world.metric, a, seed=seed, resamples=RESAMPLES, cluster=world.cluster)
    return confidence_of_difference(world.metric, a, b, seed=seed, resamples=RESAMPLES, cluster=world.cluster)


def simulate(world: Population, n: int, datasets: int, seed: int = 0) -> Rates:
    """Draw, ask, count."""
    began, rng = time.process_time(), np.random.default_rng([seed, n])
    sign = 1.0 if world.metric.direction == "higher" else -1.0
    truth = sign * world.truth
    lows, highs, centres, methods, silent = [], [], [], Counter[str](), 0
    for index in range(datasets):
        drawn = world.draw(rng, n)
        found = bounds(world, drawn, index)
        low, high = found.low(ALPHA), found.high(ALPHA)
        if found.doubt or not (math.isfinite(low) and math.isfinite(high)):
            silent += 1
            continue
        values = [world.metric.value(side) for side in drawn if side is not None]
        centres.append(sign * (values[0] - values[1] if len(values) > 1 else values[0]))
        lows.append(low if sign > 0 else -high)
        highs.append(high if sign > 0 else -low)
        methods[found.method] += 1
    low_a, high_a = np.array(lows), np.array(highs)
    spread = float(np.std(centres)) if centres else math.nan
    margin = detectable_difference(spread, measured_n=n, n=n, confidence=1 - ALPHA, power=POWER) if centres else 0.0
    method = methods.most_common(1)[0][0] if methods else ""
    return Rates(
        check=world.name, effect=world.effect, n=n, method=method, datasets=datasets,
        false_promotions=float((low_a > truth + 1e-12).sum()) / datasets,
        false_failures=float((high_a < truth - 1e-12).sum()) / datasets,
        held=1.0 - float((low_a > truth - margin).sum()) / datasets,
        no_answer=silent / datasets, seconds=time.process_time() - began,
    )  # fmt: skip


def tolerance(datasets: int, rate: float = ALPHA) -> float:
    """What 1 in 1,000 counts exceeds although the rate is as stated."""
    return float(-ndtri(0.001)) * math.sqrt(rate * (1 - rate) / datasets)


def verdict(rate: Rates) -> str:
    """Whether the stated error holds."""
    if rate.no_answer > 0.5:
        return "inconclusive"
    allowed = ALPHA + tolerance(rate.datasets)
    return "holds" if max(rate.false_promotions, rate.false_failures) <= allowed else "exceeds"


def table(found: list[Rates]) -> list[str]:
    """Markdown."""
    lines = [
        "| check | truth | n | method | false promotions | false failures | held | no answer | stated error |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for rate in found:
        shares = [rate.false_promotions, rate.false_failures, rate.held, rate.no_answer]
        cells = [
            rate.check,
            rate.effect,
            str(rate.n),
            rate.method,
            *(f"{share:.1%}" for share in shares),
            verdict(rate),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def metric_table() -> list[str]:
    """Every metric once, per-class ones for a class called `c`, as rows of Markdown."""
    lines = ["| metric | formula | unit, better | source |", "|---|---|---|---|"]
    for task in ("classification", "multi_label", "regression", "ranking"):
        found = metrics_for(task, ("c", "d", "e"))
        if task == "classification":
            found |= {name: m for name, m in binary_metrics().items() if name in ("roc_auc", "average_precision")}
        for name, metric in found.items():
            if not name.endswith(("_d", "_e")):
                formula = metric.formula.replace("|", "\\|")
                cells = [
                    f"`{name}` ({task.replace('_', '-')})",
                    formula,
                    f"{metric.unit}, {metric.direction}",
                    metric.source,
                ]
                lines.append("| " + " | ".join(cells) + " |")
    return lines


def within(text: str, mark: str, lines: list[str]) -> str:
    """The text with the lines between two marks replaced."""
    head, _, tail = text.split(f"<!-- {mark} -->")
    return f"<!-- {mark} -->".join([head, "\n" + "\n".join(lines) + "\n", tail])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", type=int, default=1000)
    parser.add_argument("--largest", type=int, default=5000, help="leave out larger sizes")
    parser.add_argument("--check", nargs="*", default=list(POPULATIONS), choices=list(POPULATIONS))
    parser.add_argument("--table", action="store_true", help="write the table from the newest results, draw nothing")
    options = parser.parse_args()
    RESULTS.parent.mkdir(exist_ok=True)
    if not options.table:
        for name in options.check:
            for world in POPULATIONS[name]():
                for n in world.sizes:
                    if n > options.largest:
                        continue
                    rate = simulate(world, n, options.datasets if n < 1000 else options.datasets // 2)
                    print("\n".join(table([rate])[2:]), f"{rate.seconds:.0f} s", flush=True)
                    with RESULTS.open("a") as sink:
                        sink.write(json.dumps({"claim": "simulations", **asdict(rate)}) + "\n")
    newest = {}
    for line in RESULTS.read_text().splitlines():
        held = {key: value for key, value in json.loads(line).items() if key != "claim"}
        newest[held["check"], held["effect"], held["n"]] = Rates(**held)
    text = within(DOCS.read_text(), "simulations", table(list(newest.values())))
    DOCS.write_text(within(text, "metrics", metric_table()))


if __name__ == "__main__":
    main()
