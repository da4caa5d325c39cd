"""Metaflow: the bare script's functions as five steps, on the local datastore. It knows no unchanged re-run.

python metaflow_flow.py run --file rows.csv --seed SEED --out OUT --epochs EPOCHS
"""

from __future__ import annotations

from pathlib import Path

import bare
from metaflow import FlowSpec, Parameter, step


class RetrainFlow(FlowSpec):
    file = Parameter("file", type=str)
    seed = Parameter("seed", type=int)
    out = Parameter("out", type=str)
    epochs = Parameter("epochs", type=int, default=20)

    @step
    def start(self) -> None:
        self.rows = bare.read(Path(self.file))
        self.next(self.split)

    @step
    def split(self) -> None:
        self.sides = bare.split(*self.rows)
        self.next(self.fit)

    @step
    def fit(self) -> None:
        self.weights = bare.fit(self.sides, self.seed, self.epochs)
        self.next(self.evaluate)

    @step
    def evaluate(self) -> None:
        self.accuracy = bare.evaluate(self.weights, self.sides)
        self.next(self.end)

    @step
    def end(self) -> None:
        bare.save(self.weights, self.accuracy, Path(self.out))


if __name__ == "__main__":
    RetrainFlow()
