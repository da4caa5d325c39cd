"""Evidently's drift preset with its defaults on windows; runs in an environment of its own."""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset

warnings.simplefilter("ignore")


def main() -> None:
    folder = Path(sys.argv[1])
    held = np.load(folder / "in.npz")
    names = [f"f{index}" for index in range(held["reference"].shape[1])]
    definition = DataDefinition(numerical_columns=names)

    def dataset(rows: np.ndarray) -> Dataset:
        return Dataset.from_pandas(pd.DataFrame(rows, columns=names), data_definition=definition)

    reference, half, one = dataset(held["reference"]), [], []
    for rows in held["windows"]:
        kept = [index for index in range(rows.shape[1]) if not np.isnan(rows[:, index]).all()]
        columns = [names[index] for index in kept]  # it refuses a column without any value
        found = Report([DataDriftPreset(columns=columns)]).run(dataset(rows), reference).dict()
        count = next(m["value"] for m in found["metrics"] if m["metric_name"].startswith("DriftedColumnsCount"))
        missing = len(kept) < len(names)
        half.append(bool(count["share"] >= 0.5))
        one.append(bool(count["count"] >= 1) or missing)
    answer = {"Evidently, half of the fields": half, "Evidently, any field": one}
    (folder / "out.json").write_text(json.dumps(answer))


if __name__ == "__main__":
    main()
