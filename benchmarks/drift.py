"""Drift of a day of rows: sketched in one pass over batches in constant memory, beside Evidently's preset.

    python benchmarks/drift.py [--rows 10000000] [--peer PYTHON] [--peer-rows 1000000]

20 columns: 16 numbers and 4 categories; a reference of 100,000 rows. Rows come as batches of 250,000, as a file is
read; one batch is drawn before the clock runs and taken up again and again. `--peer`: the Python of an environment with
evidently 0.7.23 and pandas below 3; it has to hold all rows at once, so it gets `--peer-rows` of them, and the ratio is
per row.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from mlratchet.models.monitoring.drift import drift
from mlratchet.models.monitoring.sketches import Sketch, of

RESULTS = Path(__file__).parent / "results" / "drift.jsonl"
BATCH, REFERENCE, NUMBERS, WORDS = 250_000, 100_000, 16, 4


def batch(rng: np.random.Generator, rows: int, moved: float) -> pa.Table:
    """Rows of which the first number and the first category drift."""
    columns: dict[str, Any] = {f"n{i}": rng.normal(moved * (i == 0), 1 + i, rows) for i in range(NUMBERS)}
    shares = np.full(20, 1 / 20)
    for index in range(WORDS):
        weights = shares.copy()
        weights[0] += moved * (index == 0)
        places = rng.choice(20, rows, p=weights / weights.sum())
        columns[f"c{index}"] = pa.array(np.asarray([f"value {v}" for v in range(20)])[places])
    return pa.table(columns)


def ours(reference: pa.Table, one: pa.Table, batches: int) -> dict[str, Any]:
    """CPU seconds and peak memory of sketching `batches` batches and comparing all columns."""
    kinds = {name: "number" if name.startswith("n") else "category" for name in reference.column_names}
    held = {name: of(reference[name], kind) for name, kind in kinds.items()}  # type: ignore[arg-type]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, cpu = time.monotonic(), time.process_time()
    window: dict[str, Sketch] = {name: sketch.like() for name, sketch in held.items()}
    for _ in range(batches):
        for name, kind in kinds.items():
            piece = of(one[name], kind, like=held[name])  # type: ignore[arg-type]
            window[name].merge(piece)  # type: ignore[arg-type]
    found = {name: drift(held[name], window[name], kind, seed=0) for name, kind in kinds.items()}  # type: ignore[arg-type]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    drifted = sorted(name for name, effect in found.items() if effect.least > 0.1)
    return {
        "seconds": round(time.monotonic() - began, 2), "cpu_s": round(time.process_time() - cpu, 2),
        "grown_mb": round((peak - before) / 1000), "drifted": drifted,
    }  # fmt: skip


def peer(python: str, reference: pa.Table, window: pa.Table) -> dict[str, Any]:
    """The same of Evidently, without its import and without reading the rows."""
    with tempfile.TemporaryDirectory() as folder:
        pq.write_table(reference, Path(folder) / "reference.parquet")
        pq.write_table(window, Path(folder) / "window.parquet")
        script = Path(__file__).parent / "drift_evidently.py"
        subprocess.run([python, str(script), folder], check=True, env={**os.environ, "DO_NOT_TRACK": "1"})
        found: dict[str, Any] = json.loads((Path(folder) / "out.json").read_text())
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--peer", help="python of an environment with evidently")
    parser.add_argument("--peer-rows", type=int, default=1_000_000)
    options = parser.parse_args()
    rng = np.random.default_rng(14)
    reference, one = batch(rng, REFERENCE, 0.0), batch(rng, BATCH, 0.3)
    sides: dict[str, Any] = {}
    for rows in (options.peer_rows, options.rows):
        sides[f"ratchet, {rows:,} rows"] = ours(reference, one, rows // BATCH) | {"rows": rows}
    if options.peer is not None:
        window = pa.concat_tables([one] * (options.peer_rows // BATCH))
        sides[f"Evidently 0.7.23, {options.peer_rows:,} rows"] = peer(options.peer, reference, window) | {
            "rows": options.peer_rows
        }
    row = {
        "claim": "drift", "date": time.strftime("%Y-%m-%d"), "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1), "sides": sides,
    }  # fmt: skip
    with RESULTS.open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()
