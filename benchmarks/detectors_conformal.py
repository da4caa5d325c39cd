"""Whether a conformal test martingale on the model's confidence would find what the alarm does not, at the same rate.

    python benchmarks/detectors_conformal.py [--kept FOLDER] [--world NAME ...]

Vovk et al. (2005, 2021): the rank of each row's score among the reference and all earlier rows is uniform while nothing
changes at all; bets on it, 1 + e (p - 1/2), are e-values for the same e-detector. It stands beside the stream
`outputs/confidence` of the product, and beside all its streams without labels. `trifle`: a tilt of 0.05 standard
deviations, which `minimum_effect` says does not matter.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from detectors_ours import HOUR_S, Ours
from detectors_real import RAW
from detectors_worlds import Window, World, world_of
from mlratchet.models.monitoring.sequential import EvidenceStream, JointAlarm

Array = np.ndarray[Any, Any]
RESULTS = Path(__file__).parent / "results" / "detectors.jsonl"
N, WINDOWS, RUNS = 500, 12, 5
BETS_K = np.r_[2.0 ** np.arange(1, -4, -1), -(2.0 ** np.arange(1, -4, -1))]
CASES = [
    ("none", "covariate", 0.0), ("trifle", "covariate", 0.05), ("covariate", "covariate", 0.3), ("label", "label", 0.3),
    ("concept", "concept", 0.2), ("quality", "quality", 0.05), ("outage", "outage", 0.2),
]  # fmt: skip
Take = Callable[[Window, int], bool]


def conformal(world: World, share: int, rng: np.random.Generator) -> Take:
    """At the rate that is left for one of `share` streams."""
    alarm = JointAlarm({"c": EvidenceStream(parts=("rank",))}, false_alarms_per_year=1 / share, started_s=0.0)
    seen = world.reference.confidence

    def take(window: Window, hour: int) -> bool:
        nonlocal seen
        said = []
        for at, score in enumerate(window.confidence):
            earlier = np.concatenate([seen, window.confidence[:at]])
            ties = int((earlier == score).sum()) + 1
            said.append((float((earlier < score).sum()) + rng.random() * ties) / (len(earlier) + 1))
        seen = np.concatenate([seen, window.confidence])
        logs = np.log1p(BETS_K * (np.asarray(said)[:, None] - 0.5) * 0.999)
        at_s = HOUR_S * (hour + np.arange(1, len(logs) + 1) / len(logs))
        return bool(alarm.update({"c": (logs, at_s)}))

    return take


def ours(every: Ours, only: str | None) -> Take:
    """One stream at its share of the rate, or all without labels."""
    if only is not None:
        rate = 1 / len(every.streams)
        alarm = JointAlarm({only: every.streams[only]}, false_alarms_per_year=rate, started_s=0.0)
    else:
        alarm = every.alarm(without=("quality",))
    rng = np.random.default_rng(0)

    def take(window: Window, hour: int) -> bool:
        return bool(alarm.update(every.batches(alarm, [every.said(window, whole=False)], hour, rng)))

    return take


def hours_until(take: Take, windows: Iterator[Window]) -> float:
    return next((hour + 1.0 for hour, window in enumerate(windows) if take(window, hour)), math.inf)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kept", type=Path, default=Path(tempfile.gettempdir()) / "ratchet-packages")
    parser.add_argument("--world", nargs="*", default=["synthetic", "letters", "income"], choices=list(RAW))
    options = parser.parse_args()
    for name in options.world:
        world = world_of(RAW[name](options.kept), 14)
        every = Ours.of(world, rate=1.0)
        for title, change, size in CASES:
            found: dict[str, list[float]] = {"conformal": [], "confidence": [], "all without labels": []}
            for run in range(RUNS):
                rng = np.random.default_rng([run, int(100 * size)])
                windows = [world.draw(rng, N, change, size) for _ in range(WINDOWS)]
                takes = {
                    "conformal": conformal(world, len(every.streams), rng),
                    "confidence": ours(every, "outputs/confidence"), "all without labels": ours(every, None),
                }  # fmt: skip
                for detector, take in takes.items():
                    found[detector].append(hours_until(take, iter(windows)))
            rows = {
                detector: [int(one * N) if math.isfinite(one) else None for one in sorted(delays)]
                for detector, delays in found.items()
            }
            row = {"claim": "detectors conformal", "date": time.strftime("%Y-%m-%d"), "cores": os.cpu_count(),
                   "world": name, "change": title, "size": size, "rows": rows, "of": WINDOWS * N,
                   "load": round(os.getloadavg()[0], 1)}  # fmt: skip
            with RESULTS.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(name, title, size, {one: delays[RUNS // 2] for one, delays in rows.items()}, flush=True)


if __name__ == "__main__":
    main()
