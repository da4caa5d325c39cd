"""The model server as a whole, as busy as the machine allows, while champions change and what it leans on is killed."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlratchet.infra.inference_log.pipeline_log import MOST_ANSWERS

from tests.conftest import Stack
from tests.faults.soak import VERSIONS, Logged, Seen, Soak

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(1800)]

KILL, TERM = signal.SIGKILL, signal.SIGTERM
SEED, MINUTES = 20261127, 10.0
GROWTH_MB = 40.0  # of a server between the first minute of its life and the last
OUTAGES = (
    (("log-writer",), KILL), (("seaweedfs",), KILL), (("mlflow",), KILL), (("serve",), KILL), (("serve",), TERM),
    (("log-writer",), TERM), (("seaweedfs", "serve"), KILL), (("seaweedfs", "log-writer"), KILL),
    (("serve", "log-writer"), KILL), (("seaweedfs", "serve"), TERM),
)  # fmt: skip


@pytest.fixture
def soak(stack: Stack, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Soak]:
    made = Soak(stack, f"soak-{len(request.node.name)}", tmp_path)
    made.begin()
    yield made
    made.end()


def nothing_is_wrong(soak: Soak, seen: Seen, logged: Logged) -> dict[str, Any]:
    """What holds of every soak; returns its figures."""
    unique, at = np.unique(logged.ids, return_index=True)
    found = np.isin(seen.ids, unique)
    missing = int((~found).sum())
    figures = {
        "answers": len(seen.ids), "swaps": soak.swaps, "outages": soak.outages, "statuses": seen.statuses,
        "longest_s": round(seen.longest_s, 2), "missing": missing, "dropped": logged.dropped,
        "unclosed": logged.unclosed, "files": logged.files, "memory_mb": [round(mb) for mb in soak.memory_mb],
    }  # fmt: skip
    print(json.dumps(figures))
    assert seen.wrong == [], "each answer is that of the version that it names; 503 says when to ask again"
    assert set(seen.statuses) <= {"200", "503", "refused", "ended"}
    assert set(np.unique(seen.versions)) == set(VERSIONS)
    assert logged.problems == (), "the chain is whole"
    assert len(unique) == len(logged.ids), "nothing is in the log twice"
    assert (logged.versions[at[np.searchsorted(unique, seen.ids[found])]] == seen.versions[found]).all()
    assert missing <= logged.dropped + logged.unclosed * MOST_ANSWERS, "each is in the log, or counted"
    return figures


def test_no_answer_is_wrong_and_none_is_lost_from_the_log_while_everything_beneath_is_killed(soak: Soak) -> None:
    with soak.clients() as out:
        soak.swap_for(3.0, every_s=0.5)
        soak.remember_memory()
        soak.outage(("log-writer", "seaweedfs", "mlflow"), KILL)
        soak.remember_memory()
        soak.outage(("serve",), KILL)
        soak.swap_for(2.0, every_s=0.5)
    figures = nothing_is_wrong(soak, soak.seen(out), soak.logged())

    assert figures["answers"] > 1000
    assert figures["unclosed"] == 0
    assert soak.swaps >= 6
    assert soak.memory_mb[1] < soak.memory_mb[0] + GROWTH_MB


@pytest.mark.full
def test_ten_minutes_of_it(soak: Soak) -> None:
    draw, began = random.Random(SEED), time.monotonic()
    with soak.clients() as out:
        while time.monotonic() - began < MINUTES * 60 * 0.7:
            soak.outage(*draw.choice(OUTAGES))
            soak.swap_for(10.0)
        soak.remember_memory()
        while time.monotonic() - began < MINUTES * 60:
            soak.swap_for(10.0)
            soak.remember_memory()
    figures = nothing_is_wrong(soak, soak.seen(out), soak.logged())

    assert len(figures["outages"]) >= 8
    assert max(soak.memory_mb) < soak.memory_mb[0] + GROWTH_MB
