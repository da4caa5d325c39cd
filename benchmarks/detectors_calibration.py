"""Whether evidence that confidences no longer mean what they meant finds losses sooner than the losses alone.

    python benchmarks/detectors_calibration.py [--kept FOLDER] [--world NAME ...]

Both at the rate of one alarm a year over 20 streams, on the same labelled rows (one of five, 1,000 rows an hour).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from detectors_ours import HOUR_S, LABELLED, QUALITY, SURE, Ours
from detectors_real import RAW
from detectors_worlds import world_of
from mlratchet.models.monitoring.calibration import CALIBRATION_STREAM as STREAM
from mlratchet.models.monitoring.calibration import calibration_evidence
from mlratchet.models.monitoring.sequential import JointAlarm

Array = np.ndarray[Any, Any]
RESULTS = Path(__file__).parent / "results" / "detectors.jsonl"
STREAMS, N, ROWS, RUNS = 20, 1000, 20_000, 9
CASES = [("concept", 0.05), ("concept", 0.1), ("concept", 0.2), ("quality", 0.3), ("outage", 0.2), ("outage", 1.0),
         ("covariate", 1.0)]  # fmt: skip


def rows_until(every: Ours, names: tuple[str, ...], confidence: Array, wrong: Array, at: Array) -> float:
    """Rows, labelled or not, until an alarm of these streams; the others keep their share of the rate."""
    streams = {name: STREAM if name == SURE else every.streams[QUALITY] for name in names}
    alarm = JointAlarm(streams, false_alarms_per_year=len(streams) / STREAMS, started_s=0.0)
    batches: dict[str, Any] = {
        name: (calibration_evidence(every.reliability, confidence, wrong) if name == SURE else wrong, at)
        for name in names
    }
    found = alarm.update(batches)
    return found[0].at_s / HOUR_S * N if found else math.inf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kept", type=Path, default=Path(tempfile.gettempdir()) / "ratchet-packages")
    parser.add_argument("--world", nargs="*", default=list(RAW), choices=list(RAW))
    options = parser.parse_args()
    sides = {"losses": (QUALITY,), "calibration": (SURE,), "both": (QUALITY, SURE)}
    for name in options.world:
        world = world_of(RAW[name](options.kept), 14)
        every = Ours.of(world, rate=1.0)
        for change, size in CASES:
            found: dict[str, list[float]] = {side: [] for side in sides}
            for run in range(RUNS):
                rng = np.random.default_rng([run, int(100 * size)])
                window = world.draw(rng, ROWS, change, size)
                labelled = rng.random(ROWS) < LABELLED
                at = HOUR_S * np.arange(1, ROWS + 1)[labelled] / N
                for side, names in sides.items():
                    rows = rows_until(every, names, window.confidence[labelled], window.wrong[labelled], at)
                    found[side].append(rows)
            medians = {side: sorted(delays)[RUNS // 2] for side, delays in found.items()}
            row = {"claim": "detectors calibration", "date": time.strftime("%Y-%m-%d"), "cores": os.cpu_count(),
                   "world": name, "change": change, "size": size, "of": ROWS,
                   "rows": {side: int(one) if math.isfinite(one) else None for side, one in medians.items()},
                   "load": round(os.getloadavg()[0], 1)}  # fmt: skip
            with RESULTS.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(name, change, size, row["rows"], flush=True)


if __name__ == "__main__":
    main()
