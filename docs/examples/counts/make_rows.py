"""Writes visits.csv: three numbers and a count whose rate depends on them. `python make_rows.py 1200`."""

import csv
import sys
from pathlib import Path

import numpy as np

rng = np.random.default_rng(0)
x = rng.normal(size=(int(sys.argv[1]) if len(sys.argv) > 1 else 1200, 3)).round(6)
visits = rng.poisson(np.exp(0.8 + x @ [0.7, -0.4, -0.3]))
with Path("visits.csv").open("w", newline="") as sink:
    writer = csv.writer(sink)
    writer.writerow(["hour", "price", "rain", "visits"])
    writer.writerows([*row, count] for row, count in zip(x, visits, strict=True))
