"""Write docs/benchmarks.md from the newest rows of benchmarks/results/.

python benchmarks/tables
"""

from __future__ import annotations

from pathlib import Path

import data
import monitoring
import pipeline
import serving
import training

HEAD = """# Benchmarks

Written by `python benchmarks/tables` from the newest rows of `benchmarks/results/`. Each script runs its sides
interleaved in one process tree after a warm-up; ratios are what to trust. Machines are shared: absolute figures move.
"""

SECTIONS = (
    training.engine,
    training.exact_cost,
    training.checkpoint,
    training.recovery,
    training.start,
    pipeline.retrain,
    training.logging,
    data.preparation,
    data.loader,
    data.dataset,
    data.memory,
    serving.serving,
    serving.inference_log,
    serving.swap,
    serving.neighbours,
    pipeline.gates,
    pipeline.promotion,
    pipeline.history,
    monitoring.detectors,
    monitoring.drift,
    training.gpu,
)

if __name__ == "__main__":
    text = "\n".join([HEAD.rstrip(), *(line for section in SECTIONS for line in section())]) + "\n"
    (Path(__file__).parents[2] / "docs" / "benchmarks.md").write_text(text)
    print(text)
