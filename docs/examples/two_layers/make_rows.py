"""Writes rows.csv: ten numbers and a label that depends on them. `python make_rows.py 2000`."""

import csv
import sys
from pathlib import Path

import numpy as np

rng = np.random.default_rng(0)
weights = rng.normal(size=10)  # the same task, however many rows
x = rng.normal(size=(int(sys.argv[1]) if len(sys.argv) > 1 else 2000, 10))
label = (x @ weights + 0.3 * rng.normal(size=len(x)) > 0).astype(int)
with Path("rows.csv").open("w", newline="") as sink:
    writer = csv.writer(sink)
    writer.writerow([*(f"x{i}" for i in range(10)), "label"])
    writer.writerows([*row.round(6), y] for row, y in zip(x, label, strict=True))
