"""How often each detector is wrong in a year without a change, and after how many rows it finds a known change.

    python benchmarks/detectors.py [--peer PYTHON]

A window is an hour. A model is fitted, its test rows are the reference, and windows are drawn from other rows of the
same world, without a change and with one of five kinds at two sizes. What a rule by window says of one window it says
of every window alike, so a year of 8,766 windows is counted from the share of windows without a change in which it
sounds, and the delay is that of the median. Ours go on from window to window and are run as they are.
`--peer`: the Python of an environment with evidently 0.7.23 and pandas below 3.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from detectors_worlds import WORLDS, World
from mlratchet.models.evaluation.statistics.proportions import wilson
from mlratchet.models.monitoring.drift import drift, population_stability_index
from mlratchet.models.monitoring.field_watch import joint_batches, joint_streams, watch_of
from mlratchet.models.monitoring.look import DRIFT_LIMIT
from mlratchet.models.monitoring.sequential import YEAR_S, Alarm, JointAlarm
from mlratchet.models.monitoring.sketches import Sketch, of
from scipy import stats

Array = np.ndarray[Any, Any]
RESULTS = Path(__file__).parent / "results" / "detectors.jsonl"
HOUR_S = 3600.0
YEAR = int(YEAR_S / HOUR_S)
EFFECT, RATE, LABELLED = 0.1, 1.0, 0.2  # minimum effect, false alarms a year, share of the rows with a label
NULL_WINDOWS, WINDOWS, RUNS, MOST = 40, 8, 7, 400  # MOST: windows after which a change counts as not found
CHANGES = {
    "covariate": (0.3, 1.0), "label": (0.3, 0.8), "concept": (0.05, 0.2), "quality": (0.05, 0.3), "outage": (0.2, 1.0),
}  # fmt: skip
Rule = Callable[[Array], bool]


def rules_of(reference_NF: Array, sketches: list[Sketch]) -> dict[str, Rule]:
    """Of one window (n, F); NaN is missing."""

    def threshold(window: Array) -> bool:
        return any(_psi(reference_NF[:, f], window[:, f]) > 0.2 for f in range(window.shape[1]))

    def hourly_ks(window: Array) -> bool:
        columns = [(reference_NF[:, f], window[:, f][~np.isnan(window[:, f])]) for f in range(window.shape[1])]
        return any(len(now) > 1 and stats.ks_2samp(then, now).pvalue < 0.05 for then, now in columns)

    def effect(window: Array) -> bool:
        return any(_moved(sketches[f], window[:, f]) for f in range(window.shape[1]))

    return {"PSI above 0.2": threshold, "hourly KS, p < 0.05": hourly_ks, "ratchet, window": effect}


def _psi(then: Array, now: Array) -> float:
    edges = np.unique(np.quantile(then, np.linspace(0, 1, 11)[1:-1]))
    now = now[~np.isnan(now)]
    shares = [np.bincount(np.searchsorted(edges, one, side="right"), minlength=len(edges) + 1) for one in (then, now)]
    return population_stability_index(*(one / max(one.sum(), 1) for one in shares))


def _moved(sketch: Sketch, column: Array) -> bool:
    return drift(sketch, of(column, "number", like=sketch), "number", seed=0).least > EFFECT


@dataclass(frozen=True, kw_only=True)
class Setup:
    """One world at one number of rows an hour."""

    world: World
    n: int
    seed: int

    def windows(self, count: int, change: str | None = None, size: float = 0.0) -> list[tuple[Array, Array]]:
        """(rows, losses) of so many windows."""
        rng = np.random.default_rng([self.seed, self.n, sum(map(ord, change or ""))])
        return [self.world.draw(rng, self.n, change, size) for _ in range(count)]


def of_windows(shown: float, streams: int, rng: np.random.Generator) -> Callable[[], float]:
    """Windows until the product's alarm over the drift of fields sounds; infinite for none within `MOST`."""

    def run() -> float:
        alarm = Alarm(limit=DRIFT_LIMIT, false_alarms_per_year=RATE / streams, started_s=0.0)
        found = alarm.update((rng.random(MOST) < shown).astype(float), HOUR_S * np.arange(1, MOST + 1))
        return found[0].at_s / HOUR_S if found else math.inf

    return run


def alarms_in_years(shown: float, streams: int, rng: np.random.Generator, years: int = 200) -> float:
    """A year, of the same alarm."""
    alarm = Alarm(limit=DRIFT_LIMIT, false_alarms_per_year=RATE / streams, started_s=0.0)
    total = sum(
        len(alarm.update((rng.random(YEAR) < shown).astype(float), HOUR_S * (YEAR * year + np.arange(1, YEAR + 1))))
        for year in range(years)
    )
    return total / years


def rows_until(setup: Setup, change: str, size: float, of_quality: bool) -> list[float]:
    """Rows until ours sound that take up every row: losses of the labelled rows, or the fields."""
    found, rng = [], np.random.default_rng(setup.seed)
    for _ in range(RUNS):
        take, done = taker(setup, of_quality), 0
        sounded: list[Any] = []
        while not sounded and done < min(MOST * setup.n, 20_000):
            rows, losses = setup.world.draw(rng, 200, change, size)
            sounded = take(rows, losses, rng, done)
            done += 200
        found.append(sounded[0].at_s / HOUR_S * setup.n if sounded else math.inf)
    return found


def taker(setup: Setup, of_quality: bool) -> Callable[..., list[Any]]:
    reference = setup.world.reference
    if of_quality:
        limit = wilson(int(setup.world.losses.sum()), len(setup.world.losses), confidence=0.95).high
        alarm = Alarm(limit=limit, false_alarms_per_year=RATE, started_s=0.0)

        def take(_rows: Array, losses: Array, rng: np.random.Generator, done: int) -> list[Any]:
            labelled = rng.random(len(losses)) < LABELLED
            at = (done + np.arange(1, len(losses) + 1)) * HOUR_S / setup.n
            return alarm.update(losses[labelled], at[labelled])

        return take
    watches = {
        str(f): watch
        for f in range(reference.shape[1])
        if (watch := watch_of(of(reference[:, f], "number"), "number", minimum_effect=EFFECT)) is not None
    }
    joint = JointAlarm(joint_streams(watches), false_alarms_per_year=RATE, started_s=0.0)

    def take_fields(rows: Array, _losses: Array, _rng: np.random.Generator, done: int) -> list[Any]:
        at = (done + np.arange(1, len(rows) + 1)) * HOUR_S / setup.n
        return joint.update(joint_batches(watches, {str(f): rows[:, f] for f in range(rows.shape[1])}, at))

    return take_fields


def alarms_of_rows(setup: Setup, of_quality: bool, years: float) -> float:
    """A year, of those that take up every row."""
    take, rng, total = taker(setup, of_quality), np.random.default_rng(setup.seed + 1), 0
    step = 50_000
    for begin in range(0, int(years * YEAR * setup.n), step):
        rows, losses = setup.world.draw(rng, step, None, 0.0)
        total += len(take(rows, losses, rng, begin))
    return total / years


def evidently_on(python: str, reference: Array, windows: list[Array]) -> dict[str, list[bool]]:
    """Its preset with its own defaults, in its own environment."""
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "in.npz", reference=reference, windows=np.stack(windows))
        script = Path(__file__).parent / "detectors_evidently.py"
        subprocess.run([python, str(script), folder], check=True, env={**os.environ, "DO_NOT_TRACK": "1"})
        found: dict[str, list[bool]] = json.loads((Path(folder) / "out.json").read_text())
        return found


def median_rows(shares: float, n: int) -> float:
    """Rows until a rule that sounds in this share of the windows has sounded in half of the cases."""
    if shares >= 1:
        return float(n)
    return math.ceil(math.log(0.5) / math.log1p(-shares)) * n if shares > 0 else math.inf


def measure(setup: Setup, peer: str | None, sink: Callable[[dict[str, Any]], None]) -> None:
    """Every detector on every change."""
    reference = setup.world.reference
    sketches = [of(reference[:, f], "number") for f in range(reference.shape[1])]
    streams = reference.shape[1]
    rules = rules_of(reference, sketches)
    cases: list[tuple[str, float]] = [("none", 0.0), *((c, s) for c, sizes in CHANGES.items() for s in sizes)]
    drawn_of = [
        [rows for rows, _ in setup.windows(NULL_WINDOWS if c == "none" else WINDOWS, None if c == "none" else c, s)]
        for c, s in cases
    ]
    told = evidently_on(peer, reference, [rows for drawn in drawn_of for rows in drawn]) if peer is not None else {}
    per_year: dict[str, float] = {}
    rng = np.random.default_rng(setup.seed)
    begin = 0
    years = 1.0 if setup.n <= 100 else 0.1
    for (change, size), drawn in zip(cases, drawn_of, strict=True):
        shares = {name: float(np.mean([rule(rows) for rows in drawn])) for name, rule in rules.items()}
        shares |= {name: float(np.mean(flags[begin : begin + len(drawn)])) for name, flags in told.items()}
        begin += len(drawn)
        window = shares.pop("ratchet, window")
        if change == "none":
            per_year = {name: share * YEAR for name, share in shares.items()}
            per_year["ratchet, drift by window"] = alarms_in_years(window, streams, rng)
            per_year["ratchet, drift by row"] = alarms_of_rows(setup, False, years)
            per_year["ratchet, quality"] = alarms_of_rows(setup, True, 5 * years)
            delays: dict[str, float | None] = {}
        else:
            delays = {name: median_rows(share, setup.n) for name, share in shares.items()}
            run = of_windows(window, streams, rng)
            delays["ratchet, drift by window"] = float(np.median([run() for _ in range(41)])) * setup.n
            delays["ratchet, drift by row"] = float(np.median(rows_until(setup, change, size, False)))
            delays["ratchet, quality"] = float(np.median(rows_until(setup, change, size, True)))
        for name, alarms in per_year.items():
            delay = delays.get(name)
            sink({
                "world": setup.world.name, "years": years, "n": setup.n, "change": change, "size": size,
                "detector": name,
                "false_alarms_per_year": round(alarms, 3),
                "rows": int(delay) if delay is not None and math.isfinite(delay) else None,
            })  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="python of an environment with evidently")
    parser.add_argument("--world", nargs="*", default=list(WORLDS), choices=list(WORLDS))
    parser.add_argument("--rows", nargs="*", type=int, default=[100, 1000])
    options = parser.parse_args()
    about = {"claim": "detectors", "date": time.strftime("%Y-%m-%d"), "cores": os.cpu_count()}

    def sink(row: dict[str, Any]) -> None:
        with RESULTS.open("a") as file:
            file.write(json.dumps(about | row | {"load": round(os.getloadavg()[0], 1)}) + "\n")

    for name in options.world:
        for n in options.rows:
            began = time.monotonic()
            measure(Setup(world=WORLDS[name](), n=n, seed=14), options.peer, sink)
            print(f"{name}, {n} rows an hour: {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
