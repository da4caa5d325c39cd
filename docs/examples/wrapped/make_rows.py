"""Writes curves.npz: curves that rise and curves that fall, with noise."""

import sys
from pathlib import Path

import numpy as np


def curves(rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 2, rows)
    slope = np.where(kinds == 0, 1.0, -1.0)[:, None] * rng.uniform(0.3, 1.5, (rows, 1))
    points = slope * np.linspace(-1, 1, 16) + rng.normal(0, 0.5, (rows, 16))
    return {"points": points.astype(np.float32), "kinds": kinds}


if __name__ == "__main__":
    np.savez(Path("curves.npz"), **curves(int(sys.argv[1]) if len(sys.argv) > 1 else 600))
