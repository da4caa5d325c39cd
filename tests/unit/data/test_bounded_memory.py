"""A dataset is made of a delivery that is several times larger than the memory that it is made in."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

MAKER = Path(__file__).with_name("make_dataset.py")


def made(folder: Path, rows: int) -> tuple[int, int, str]:
    """Of the delivery and of the process above what it takes for a small one, in MB; and what was said."""
    held_mb = 8
    told = subprocess.run(
        [sys.executable, str(MAKER), str(folder), str(rows), str(held_mb)],
        capture_output=True, text=True, timeout=1800, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr[-2000:]
    found = re.search(r"(\d+) MB delivered, above (\d+) MB", told.stdout)
    assert found is not None, told.stdout
    return int(found[1]), int(found[2]), told.stdout


def test_a_dataset_is_made_in_less_memory_than_its_delivery_takes(tmp_path: Path) -> None:
    delivered, peak, said = made(tmp_path, rows=45_000)
    assert delivered > 160
    assert peak < delivered, said


@pytest.mark.full
def test_a_dataset_is_made_in_a_quarter_of_the_memory_of_its_delivery(tmp_path: Path) -> None:
    delivered, peak, said = made(tmp_path, rows=200_000)
    assert 4 * peak < delivered, said
