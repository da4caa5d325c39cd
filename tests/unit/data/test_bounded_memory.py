"""The whole road, from a delivery to scored rows, takes the same memory for much data as for little."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROAD = Path(__file__).parents[3] / "benchmarks" / "memory.py"

GIVEN_BACK = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_MMAP_THRESHOLD_": "65536"}
"""What is freed is given back at once, so that what is told is what is held."""


def peak(folder: Path, megabytes: int) -> tuple[float, dict[str, float]]:
    """Megabytes delivered; and of every step the most anonymous memory, above what the process began with."""
    told = subprocess.run(
        [sys.executable, str(ROAD), "--child", "--megabytes", str(megabytes), "--folder", str(folder), "--small"],
        capture_output=True, text=True, timeout=1800, check=False, env={**os.environ, **GIVEN_BACK},
    )  # fmt: skip
    assert told.returncode == 0, told.stderr[-2000:]
    found = json.loads(told.stdout.splitlines()[-1])
    return found["megabytes"], found["peaks_mb"]


def test_memory_grows_by_less_than_a_quarter_of_what_is_delivered_more(tmp_path: Path) -> None:
    # below 80 MB there are fewer pieces of a file, and runs of the sort, than are held at once
    (few, small), (many, large) = peak(tmp_path, 80), peak(tmp_path, 180)
    grown = {step: round(large[step] - small[step], 1) for step in small}
    assert many - few >= 50
    assert max(large.values()) - max(small.values()) < (many - few) / 4, (grown, small)


@pytest.mark.full
def test_a_delivery_goes_the_whole_road_in_a_quarter_of_its_size(tmp_path: Path) -> None:
    megabytes, peaks = peak(tmp_path, 1000)
    assert 4 * max(peaks.values()) < megabytes, peaks
