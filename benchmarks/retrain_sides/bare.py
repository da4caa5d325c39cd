"""The bare script: rows of a CSV to weights and a test accuracy, with the pipeline's model, rows, batches and epochs.

    python bare.py rows.csv SEED OUT [EPOCHS]

The other sides call these functions from the steps of their framework.
"""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

BATCH, RATE, MOMENTUM, WARMUP = 32, 0.1, 0.9, 0.05

Rows = tuple[np.ndarray, np.ndarray]


def read(file: Path) -> Rows:
    """(B, 10) numbers and (B,) classes."""
    with file.open(newline="") as source:
        rows = list(csv.reader(source))[1:]
    return np.asarray([row[:-1] for row in rows], dtype=np.float32), np.asarray([int(row[-1]) for row in rows])


def split(x: np.ndarray, y: np.ndarray) -> dict[str, Rows]:
    """By a hash of the row: 80, 10 and 10 %."""
    side = np.asarray([hashlib.sha256(row.tobytes()).digest()[0] / 256 for row in x])
    which = {"train": side < 0.8, "validation": (side >= 0.8) & (side < 0.9), "test": side >= 0.9}
    return {name: (x[mask], y[mask]) for name, mask in which.items()}


def fit(sides: dict[str, Rows], seed: int, epochs: int) -> dict[str, torch.Tensor]:
    """Two linear layers with SGD under a cosine; the validation rows are scored after every epoch."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(10, 5), nn.ReLU(), nn.Linear(5, 2))
    x, y = (torch.from_numpy(part) for part in sides["train"])
    steps = epochs * (len(x) // BATCH)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)
    warm = max(1, int(WARMUP * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: step / warm if step < warm else (1 + np.cos(np.pi * (step - warm) / (steps - warm))) / 2
    )
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for begin in range(0, len(x) - BATCH + 1, BATCH):
            rows = order[begin : begin + BATCH]
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
            schedule.step()
        score(model, sides["validation"])
    return model.state_dict()


def score(model: nn.Module, rows: Rows) -> float:
    """Accuracy."""
    with torch.inference_mode():
        return float((model(torch.from_numpy(rows[0])).argmax(1) == torch.from_numpy(rows[1])).float().mean())


def evaluate(weights: dict[str, torch.Tensor], sides: dict[str, Rows]) -> float:
    """Accuracy on the test rows."""
    model = nn.Sequential(nn.Linear(10, 5), nn.ReLU(), nn.Linear(5, 2))
    model.load_state_dict(weights)
    return score(model, sides["test"])


def save(weights: dict[str, torch.Tensor], accuracy: float, out: Path) -> str:
    """Weights and metrics, as files."""
    out.mkdir(parents=True, exist_ok=True)
    save_file(weights, out / "weights.safetensors")
    (out / "metrics.json").write_text(json.dumps({"accuracy": accuracy}))
    return str(out)


if __name__ == "__main__":
    sides = split(*read(Path(sys.argv[1])))
    weights = fit(sides, int(sys.argv[2]), int(sys.argv[4]) if len(sys.argv) > 4 else 20)
    save(weights, evaluate(weights, sides), Path(sys.argv[3]))
