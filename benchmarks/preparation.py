"""A table of a million rows, 8 numbers (two with gaps) and 2 categories: fitted, prepared, and asked by the row.

    python benchmarks/preparation.py [--rows 1000000] [--rounds 5]

Sides, interleaved, on the same Arrow table: ours; scikit-learn as a careful user would write it (median and indicator,
standard scale, ordinal codes with unknown and rare ones aside) on the pandas frame of the same table, whose making is
not counted. The limit is copying the columns into the two matrices, nothing fitted and nothing scaled.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from mlratchet.models.preparation.composed import PreparationPlan
from mlratchet.models.schema.fields import Field, Schema
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, StandardScaler

RESULTS = Path(__file__).parent / "results"
NUMBERS, CATEGORIES = [f"number{at}" for at in range(8)], ["job", "town"]
PIECE, ASKED = 65_536, 50


def table_of(rows: int) -> pa.Table:
    """Random, the same every time."""
    rng = np.random.default_rng(0)
    columns = {
        name: pa.array(rng.normal(at, 2, rows), mask=rng.random(rows) < (0.1 if at < 2 else 0.0))
        for at, name in enumerate(NUMBERS)
    }
    words = {name: pa.array(rng.choice([f"{name} {at}" for at in range(20)], rows)) for name in CATEGORIES}
    return pa.table(columns | words)


def scikit_learn() -> ColumnTransformer:
    """The same work."""
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, min_frequency=2)
    return ColumnTransformer([("numbers", numbers, NUMBERS), ("categories", codes, CATEGORIES)])


def sides_of(table: pa.Table) -> dict[str, dict[str, Callable[[], Any]]]:
    """What is timed of each, in order: the fit comes before what needs it."""
    fields = {name: Field(kind="number", nullable=at < 2) for at, name in enumerate(NUMBERS)}
    plan = PreparationPlan(Schema(fields=fields | {name: Field(kind="category") for name in CATEGORIES}))
    frame: pd.DataFrame = table.to_pandas()
    one, theirs = table.slice(7, 1).to_pylist(), scikit_learn()
    fitted: dict[str, Any] = {}

    def pieces() -> Any:
        return (table.slice(at, PIECE) for at in range(0, table.num_rows, PIECE))

    def copied() -> Any:
        numbers = np.stack([table[name].to_numpy() for name in NUMBERS], axis=1).astype(np.float32)
        return numbers, [table[name].combine_chunks().dictionary_encode().indices.to_numpy() for name in CATEGORIES]

    def asked(answer: Callable[[], Any]) -> None:
        for _ in range(ASKED):
            answer()

    return {
        "ratchet": {
            "fit": lambda: fitted.update(state=plan.fit(pieces)),
            "apply": lambda: plan.apply(table, fitted["state"]),
            "request": lambda: asked(lambda: plan.apply_rows(one, fitted["state"])),
        },
        "scikit-learn": {
            "fit": lambda: theirs.fit(frame),
            "apply": lambda: theirs.transform(frame),
            "request": lambda: asked(lambda: theirs.transform(pd.DataFrame(one))),
        },
        "limit: copying the columns": {"apply": copied},
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    sides = sides_of(table_of(given.rows))
    taken: dict[str, dict[str, list[float]]] = {name: {what: [] for what in side} for name, side in sides.items()}
    for counted in range(-1, given.rounds):
        for name, side in sides.items():
            for what, work in side.items():
                began = time.perf_counter()
                work()
                if counted >= 0:
                    taken[name][what].append(time.perf_counter() - began)
    row = {
        "claim": "preparation",
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "rows": given.rows,
        "seconds": {
            name: {what: statistics.median(all_s) / (ASKED if what == "request" else 1) for what, all_s in side.items()}
            for name, side in taken.items()
        },
    }
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / "preparation.jsonl").open("a") as sink:
        sink.write(json.dumps(row) + "\n")
    print(json.dumps(row, indent=2))


if __name__ == "__main__":
    main()
