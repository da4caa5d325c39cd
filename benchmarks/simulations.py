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
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from mlratchet.models.evaluation.statistics.choose import confidence_of, confidence_of_difference
from mlratchet.models.evaluation.statistics.interval import Confidence
from mlratchet.models.evaluation.statistics.power import detectable_difference
from mlratchet.models.objectives.naming import metrics_for
from populations import POPULATIONS
from populations.base import Population, Rows, binary_metrics
from scipy.special import ndtri

ALPHA, POWER, RESAMPLES = 0.05, 0.8, 1000
DOCS = Path(__file__).parent.parent / "docs" / "statistics.md"
RESULTS = Path(__file__).parent / "results" / "simulations.jsonl"


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
