"""Bare Prefect: the bare script's functions as five tasks with cached results, in a process of its own.

python prefect_flow.py rows.csv SEED OUT [EPOCHS]
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import bare
from prefect import flow, task
from prefect.cache_policies import INPUTS

step = task(persist_result=True, cache_policy=INPUTS, result_serializer="pickle")


@step
def read(file: str, digest: str) -> Any:  # noqa: ARG001 - another content is another input
    return bare.read(Path(file))


@step
def split(rows: Any) -> Any:
    return bare.split(*rows)


@step
def fit(sides: Any, seed: int, epochs: int) -> Any:
    return bare.fit(sides, seed, epochs)


@step
def evaluate(weights: Any, sides: Any) -> float:
    return bare.evaluate(weights, sides)


@step
def save(weights: Any, accuracy: float, out: str) -> str:
    return bare.save(weights, accuracy, Path(out))


@flow
def retrain(file: str, seed: int, out: str, epochs: int) -> str:
    sides = split(read(file, hashlib.sha256(Path(file).read_bytes()).hexdigest()))
    weights = fit(sides, seed, epochs)
    return save(weights, evaluate(weights, sides), out)


if __name__ == "__main__":
    retrain(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]) if len(sys.argv) > 4 else 20)
