"""Where the alarm of drift begins, and what a reference of few rows costs.

    python benchmarks/detectors_quiet.py [--kept FOLDER] [--world NAME ...] [--below YEARS] [--known RUNS]

For each world, at `quiet_up_to` 0.25 and 1 and two minimum effects, windows of 1,000 rows until the alarm of
benchmarks/detectors.py and its false alarms, without the interval of a window as a whole (which takes most of the
time, and leads none of these). `--below`: alarms a year of a number that moved for good by less than `minimum_effect`.
`--known`: the evidence of one window of 1,000 rows that are tilted by 0.3, where the very direction of the tilt is
known, against a mean that is known without error, and against that of a reference as monitoring has to.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from detectors import MOST, NULL_OURS, RATE, RUNS, WINDOWS, YEARS, Setup
from detectors_ours import YEAR, Ours
from detectors_peers import Peers
from detectors_real import RAW
from detectors_worlds import FAR, Raw, World, world_of
from mlratchet.models.monitoring.column_watch import AT_EDGE, watch_of
from mlratchet.models.monitoring.measure.column_evidence import column_streams
from mlratchet.models.monitoring.sequential import BETS, YEAR_S, JointAlarm, growth
from mlratchet.models.monitoring.sketches import of

RESULTS = Path(__file__).parent / "results" / "detectors.jsonl"
PLACES = [(0.25, 0.1), (1.0, 0.1), (1.0, 0.05)]  # quiet_up_to, minimum_effect
OMITTED = ("concept",)  # which no input shows
ROWS, TILT = 1_000, 0.3


def placed(world: World, quiet_up_to: float, effect: float, seed: int) -> dict[str, Any]:
    """Windows until the alarm, and false alarms a year."""
    ours = Ours.of(world, rate=RATE, effect=effect)
    config = ours.config.model_copy(update={"quiet_up_to": quiet_up_to})
    ours = replace(ours, config=config, streams={**ours.streams, **column_streams(ours.reference, config)})
    setup = Setup(world=world, ours={effect: ours}, peers=Peers(world.reference), n=ROWS, seed=seed)
    rng = np.random.default_rng(seed)
    quiet = [ours.said(window, whole=False) for window in setup.windows(NULL_OURS)]
    untrue, led = ours.untrue_promises(quiet, world.usual()), ours.alarms_in(quiet, YEARS, rng)
    delays: dict[str, float | None] = {}
    for change, size in setup.cases:
        if change not in OMITTED:
            said = [ours.said(window, whole=False) for window in setup.windows(WINDOWS, change, size)]
            middle = sorted(ours.windows_until(said, MOST, rng)[0] for _ in range(RUNS))[RUNS // 2]
            delays[f"{change} {size:g}"] = middle if math.isfinite(middle) else None
    false = sum(count for name, count in led.items() if name not in untrue)
    return {"quiet_up_to": quiet_up_to, "minimum_effect": effect, "false_alarms_per_year": false / YEARS,
            "windows": delays}  # fmt: skip


def below(years: int, seed: int) -> dict[str, Any]:
    """As `detectors.below_the_effect`, by where the alarm begins."""
    rng, found = np.random.default_rng(seed), {}
    for quiet_up_to in (0.25, 1.0):
        for of_reference in (2_000, 100_000):
            then = of(rng.normal(size=of_reference), "number")
            watch = watch_of(then, "number", minimum_effect=0.1, among=100, quiet_up_to=quiet_up_to)
            assert watch is not None
            for part in (0.5, 0.75, 0.9, 1.0):
                drawn = (of(rng.normal(part * 0.1, 1, 10_000), "number", like=then) for _ in range(300))
                said = np.concatenate([watch.logarithms(one, None) for one in drawn])
                alarm, alarms = JointAlarm({"x": watch.stream}, false_alarms_per_year=RATE / 20, started_s=0.0), 0
                for year in range(years):
                    at = YEAR_S * (year + np.arange(1, YEAR + 1) / YEAR)
                    alarms += len(alarm.update({"x": (said[rng.integers(0, len(said), YEAR)], at)}))
                found[f"{quiet_up_to:g}, {of_reference}, {part:g}"] = alarms / years
    return {"years": years, "alarms_per_year": found}


def known(raw: Raw, runs: int, seed: int) -> dict[str, Any]:
    """Logarithms of the e-value of a tilted window along the direction of the tilt: medians."""
    assert raw.inputs is not None
    x = raw.inputs if raw.later is None else raw.inputs[~raw.later]
    x = x - x.mean(axis=0)
    along = x @ np.linalg.svd(x[:1000], full_matrices=False)[2][0]
    along /= along.std()
    clipped = np.clip(along, -FAR, FAR)
    chances = np.exp(TILT * clipped)
    chances /= chances.sum()
    scores = (clipped - clipped.min()) / (clipped.max() - clipped.min())
    rng, of_reference = np.random.default_rng(seed), min(2000, len(x) // 3)
    sides: dict[str, list[float]] = {"known": [], "reference": [], "four times the rows": []}
    for _ in range(runs):
        window = scores[rng.choice(len(x), ROWS, p=chances)]
        for side, rows in zip(sides, (0, of_reference, 4 * of_reference), strict=True):
            then = scores[rng.choice(len(x), rows)] if rows else scores
            error = AT_EDGE * then.std() / math.sqrt(rows) if rows else 0.0
            limit = then.mean() + 0.025 / (clipped.max() - clipped.min()) + error
            bets = np.geomspace(0.95 / limit, 0.95 / limit * 0.5 ** (BETS - 1), BETS)
            sides[side].append(float(growth(window, limit, bets).sum(axis=0).max()))
    return {
        "runs": runs, "of_reference": of_reference, "moved": round(float(chances @ along - along.mean()), 3),
        "log_e_values": {side: round(float(np.median(held)), 1) for side, held in sides.items()},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kept", type=Path, default=Path(tempfile.gettempdir()) / "ratchet-packages")
    parser.add_argument("--world", nargs="*", default=list(RAW), choices=list(RAW))
    parser.add_argument("--below", type=int, help="years")
    parser.add_argument("--known", type=int, help="runs")
    options = parser.parse_args()
    about = {"date": time.strftime("%Y-%m-%d"), "cores": os.cpu_count()}

    def write(claim: str, row: dict[str, Any]) -> None:
        with RESULTS.open("a") as file:
            row = {"claim": claim, **about, **row, "load": round(os.getloadavg()[0], 1)}
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)

    if options.below:
        write("detectors quiet below", below(options.below, 14))
        return
    for name in options.world:
        raw = RAW[name](options.kept)
        if options.known:
            write("detectors known", {"world": name} | known(raw, options.known, 14))
            continue
        world = world_of(raw, 14)
        for quiet_up_to, effect in PLACES:
            write("detectors quiet", {"world": name} | placed(world, quiet_up_to, effect, 14))


if __name__ == "__main__":
    main()
