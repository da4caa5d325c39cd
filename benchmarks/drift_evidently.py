"""Evidently's drift preset on two Parquet files; runs in an environment of its own."""

import json
import resource
import sys
import time
import warnings
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset

warnings.simplefilter("ignore")


def main() -> None:
    folder = Path(sys.argv[1])
    reference, window = (read(folder / f"{name}.parquet") for name in ("reference", "window"))
    names = list(reference.columns)
    definition = DataDefinition(
        numerical_columns=[n for n in names if n.startswith("n")],
        categorical_columns=[n for n in names if n.startswith("c")],
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, cpu = time.monotonic(), time.process_time()
    then = Dataset.from_pandas(reference, data_definition=definition)
    now = Dataset.from_pandas(window, data_definition=definition)
    Report([DataDriftPreset()]).run(now, then).dict()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = {
        "seconds": round(time.monotonic() - began, 2),
        "cpu_s": round(time.process_time() - cpu, 2),
        "grown_mb": round((peak - before) / 1000),
    }
    (folder / "out.json").write_text(json.dumps(answer))


def read(path: Path) -> pd.DataFrame:
    return pq.read_table(path).to_pandas()


if __name__ == "__main__":
    main()
