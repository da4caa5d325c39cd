"""Faults 24 to 27 and 40, under a run that holds its pipeline's slot: Prefect's database is locked, Prefect and MLflow
are killed, its process gets no further file descriptor."""

from __future__ import annotations

import json
import os
import resource
import signal
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import psutil
import pytest
from prefect.client.schemas.actions import VariableCreate

from tests.conftest import Stack, wait_for
from tests.faults.test_kills import flow_process, work_key_of

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.full]
SOON_S = 300.0  # for what a busy machine takes minutes for


def trained(stack: Stack, *, seed: int) -> str:
    """A pipeline whose training lasts, of its own for each seed."""
    name = stack.pipeline(
        "restarts",
        "epochs: 20 -> epochs: 60",
        f"processes: 2 -> processes: 2\n  seed: {seed}\n  warm_start: none\n  checkpoint: {{every_steps: 30}}",
        "    - {kind: non_inferiority, metric: accuracy, margin: 0.03}\n -> ",
    )
    stack("upload", name, "rows.csv")
    return name


def kill(stack: Stack, *services: str) -> None:
    """At once; returns when the supervisor has all of them back."""
    before = {name: stack.services()[name].pid for name in services}
    for pid in before.values():
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    def are_back() -> bool:
        now = stack.services()
        return all(now[name].pid not in (None, pid) for name, pid in before.items()) and stack.healthy()

    wait_for("the services to be back", are_back, SOON_S)


@contextmanager
def locked(stack: Stack) -> Iterator[None]:
    """Prefect's database, by another program."""
    with closing(sqlite3.connect(stack.home / "data" / "prefect.db", timeout=60, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def epochs_of(stack: Stack) -> int:
    """That the ranks of the stack have told of, of trainings that go on."""
    told = (file.read_text() for file in (stack.home / "scratch").glob("*/train-*/events.jsonl"))
    return sum(text.count('"event": "epoch"') for text in told)


def write_to_prefect(stack: Stack, name: str) -> str:
    with stack.prefect() as client:
        return str(client.create_variable(VariableCreate(name=name, value="written")).value)


def test_a_run_outlives_a_locked_database_and_restarts_of_prefect_and_mlflow_and_keeps_its_slot(
    stack: Any, invariants: Any
) -> None:
    name = trained(stack, seed=1)
    command = stack.start("run", name, "--json")
    pid = wait_for("the third epoch to be trained", lambda: flow_process(stack), SOON_S)
    key, epochs = work_key_of(stack, pid), epochs_of(stack)

    with ThreadPoolExecutor(1) as others:
        with locked(stack):
            written = others.submit(write_to_prefect, stack, "restarts")
            wait_for("more epochs", lambda: epochs_of(stack) >= epochs + 3, SOON_S)
            assert not written.done(), "whoever writes has to wait, and the training does not"
        assert written.result(SOON_S) == "written"
    kill(stack, "prefect", "mlflow")
    assert psutil.pid_exists(pid), "the run outlives them"
    second = stack.start("run", name, "--json")  # its slot is held by the first, whatever Prefect forgot

    out, err = command.communicate(timeout=600)
    assert command.returncode == 0, out + err
    report = json.loads(out)
    assert (report["outcome"], report["work_key"]) == ("promoted", key)
    assert report["training"]["resumed_from_step"] == 0, "it was never begun again"
    out, err = second.communicate(timeout=600)
    assert second.returncode == 0, out + err
    assert (json.loads(out)["outcome"], json.loads(out)["work_key"]) == ("unchanged", key)
    invariants.all_hold(name, report)


def test_a_run_without_a_further_file_descriptor_ends_with_one_line_and_is_resumed(stack: Any, invariants: Any) -> None:
    name = trained(stack, seed=2)
    command = stack.start("run", name, "--json")
    pid = wait_for("the third epoch to be trained", lambda: flow_process(stack), SOON_S)
    key, flow = work_key_of(stack, pid), psutil.Process(pid)
    _, most = flow.rlimit(resource.RLIMIT_NOFILE)
    flow.rlimit(resource.RLIMIT_NOFILE, (flow.num_fds(), most))

    out, err = command.communicate(timeout=600)

    assert command.returncode == 5, out + err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1, err
    invariants.no_process_is_left(key)
    invariants.nothing_half_written(name, key)
    assert stack.json("reconcile") is not None
    report = stack.json("run", name)
    assert (report["outcome"], report["work_key"]) == ("promoted", key)
    assert report["training"]["resumed_from_step"] > 0
    invariants.all_hold(name, report)
