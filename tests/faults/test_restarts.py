"""Faults 24 to 27: Prefect and MLflow are killed under a run that holds its pipeline's slot, and Prefect's database is
locked by another program."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from tests.conftest import Stack, wait_for
from tests.faults.test_kills import flow_process, work_key_of

pytestmark = [pytest.mark.stack, pytest.mark.slow]


def kill(stack: Stack, *services: str) -> None:
    """At once; returns when the supervisor has all of them back."""
    before = {name: stack.services()[name].pid for name in services}
    for pid in before.values():
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    def are_back() -> bool:
        now = stack.services()
        return all(now[name].pid not in (None, pid) for name, pid in before.items()) and stack.healthy()

    wait_for("the services to be back", are_back)


def test_a_run_outlives_prefect_and_mlflow_and_keeps_its_slot(stack: Any, invariants: Any) -> None:
    name = stack.pipeline(
        "restarts",
        "epochs: 20 -> epochs: 40",
        "processes: 2 -> processes: 2\n  warm_start: none\n  checkpoint: {every_steps: 30}",
        "    - {kind: non_inferiority, metric: accuracy, margin: 0.03}\n -> ",
    )
    stack("upload", name, "rows.csv")
    command = stack.start("run", name, "--json")
    pid = wait_for("the third epoch to be trained", lambda: flow_process(stack), 240)
    key = work_key_of(stack, pid)

    kill(stack, "prefect", "mlflow")
    with closing(sqlite3.connect(stack.home / "data" / "prefect.db", timeout=60, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # whoever writes has to wait
        second = stack.start("run", name, "--json")  # its slot is held by the first, whatever Prefect forgot
        other.execute("ROLLBACK")

    out, err = command.communicate(timeout=300)
    assert command.returncode == 0, out + err
    report = json.loads(out)
    assert (report["outcome"], report["work_key"]) == ("promoted", key)
    out, err = second.communicate(timeout=300)
    assert second.returncode == 0, out + err
    assert json.loads(out)["outcome"] == "unchanged"
    invariants.all_hold(name, report)
