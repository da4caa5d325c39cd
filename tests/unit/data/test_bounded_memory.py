"""The whole road, from a delivery to a verdict, takes the same memory for much data as for little: run, children, two
ranks and scorer together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROAD = Path(__file__).parents[3] / "benchmarks" / "memory.py"

HOURS_2_S = 7200  # what 5 GB take where others use the cores, twice
GOES = 3
"""Which processes are at their most at the same moment moves a peak by up to 20 MB (7 to 20 between 40 and 104 MB, 18
between 40 and 300); what is held of the data itself is there at every go, and all of it would be 64."""
GIVEN_BACK = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_MMAP_THRESHOLD_": "65536"}
"""What is freed is given back at once, so that what is told is what is held."""


def told(folder: Path, *options: object) -> dict[str, Any]:
    """Of the road: what was delivered, and of every step the most anonymous memory of all processes, in MB."""
    found = subprocess.run(
        [sys.executable, str(ROAD), "--child", "--folder", str(folder), *map(str, options)],
        capture_output=True, text=True, timeout=HOURS_2_S, check=False, env={**os.environ, **GIVEN_BACK},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr[-2000:]
    document: dict[str, Any] = json.loads(found.stdout.splitlines()[-1])
    return document


def can_limit() -> bool:
    """Whether a memory group can be made here."""
    made = "import memory; group = memory.MemoryGroup(); group.leave(); print(group.folder is not None)"
    asked = subprocess.run(
        [sys.executable, "-c", made], cwd=ROAD.parent, capture_output=True, text=True, timeout=300, check=True
    )
    return asked.stdout.strip() == "True"


@pytest.mark.slow
def test_what_is_delivered_more_takes_less_than_half_of_it_more(tmp_path: Path) -> None:
    few, many = 40, 104  # of fewer there are not as many pieces as are held at once
    small = told(tmp_path, "--small", "--first", 0, "--megabytes", few)
    grown = []
    for _ in range(GOES):
        large = told(tmp_path, "--small", "--first", 0, "--megabytes", many)
        assert large["megabytes"] - small["megabytes"] >= 60
        grown.append(max(large["peaks_mb"].values()) - max(small["peaks_mb"].values()))
        if grown[-1] < (many - few) / 2:
            break
    assert min(grown) < (many - few) / 2, (grown, small["peaks_mb"], large["peaks_mb"])
    assert {"read, check, sort", "training", "scoring", "judging", "batch scoring"} <= set(large["peaks_mb"])
    # beyond what the run and what it forks hold anyhow; an agent with imports of its own, or one that writes to what it
    # shares when it ends, has 200 MB more, and pieces of 16 MB in the child that reads take 300
    held = small["peaks_mb"]["judging"]
    assert small["peaks_mb"]["training"] - held < 250, small["peaks_mb"]
    assert small["peaks_mb"]["read, check, sort"] - held < 250, small["peaks_mb"]


@pytest.mark.full
@pytest.mark.timeout(HOURS_2_S + 60)
def test_a_delivery_four_times_larger_than_the_memory_goes_the_whole_road(tmp_path: Path) -> None:
    if not can_limit():
        pytest.skip("no memory cgroup can be made here")
    found = told(tmp_path, "--characters", 16000, "--megabytes", 5100, "--limit", 1250)
    assert found["megabytes"] > 4 * found["limit_mb"]
