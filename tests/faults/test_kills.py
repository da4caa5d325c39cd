"""Faults 13 to 15: kill -9 of the flow, of the worker, of both, and of what the flow is a fork of, while it trains."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import psutil
import pytest
from mlratchet.infra.machine.processes import WORK_MARK, marked_processes
from mlratchet.models.training.checkpoint import list_checkpoints

from tests.conftest import Stack, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.slow]


def flow_process(stack: Stack) -> int | None:
    """The process that owns a scratch folder with a training of three epochs in it, of which a checkpoint is kept: it
    is the flow's. (Checkpoints are written beside the training: on a slow machine later than the epoch's end.)"""
    for owner in (stack.home / "scratch").glob("*/owner.json"):
        reported = "".join(file.read_text() for file in owner.parent.glob("train-*/events.jsonl"))
        if '"event": "epoch", "epoch": 3' in reported:
            pid = int(json.loads(owner.read_text())["pid"])
            (job,) = owner.parent.glob("train-*/job.json")
            asked = json.loads(job.read_text())
            kept = list_checkpoints(stack.adapters.store, asked["work_key"], up_to_epoch=asked["epoch"])
            if kept and psutil.pid_exists(pid):
                return pid
    return None


def work_key_of(stack: Stack, pid: int) -> str:
    """Of the attempt that a flow's process has started. Its processes are there, whoever they are the children of."""
    for owner in (stack.home / "scratch").glob("*/owner.json"):
        if int(json.loads(owner.read_text())["pid"]) == pid:
            (job,) = owner.parent.glob("train-*/job.json")
            key = str(json.loads(job.read_text())["work_key"])
            assert len(marked_processes(WORK_MARK, key)) >= 3, "agent, forkserver and rank"
            return key
    raise AssertionError("the flow has no training")


KINDS = [("flow",), ("worker",), ("worker", "flow"), ("warm",)]


@pytest.mark.parametrize("victims", KINDS, ids="+".join)
def test_a_kill_in_the_middle_of_training_is_resumed(stack: Any, invariants: Any, victims: tuple[str, ...]) -> None:
    """One pipeline, and so one server, for all kinds of kill; each is a training of its own, whatever their order."""
    own = f"seed: {KINDS.index(victims)}\n  warm_start: none\n  checkpoint: {{every_steps: 30}}"
    name = stack.pipeline(
        "kills",
        "epochs: 20 -> epochs: 30",
        f"processes: 2 -> processes: 2\n  {own}",
        "    - {kind: non_inferiority, metric: accuracy, margin: 0.03}\n -> ",
    )
    stack("upload", name, "rows.csv")
    before = len(stack.adapters.registry.list_versions(name))
    command = stack.start("run", name, "--json", anew=victims == ("warm",))  # else it would be killed with it
    pid = wait_for("the third epoch to be trained", lambda: flow_process(stack))
    key = work_key_of(stack, pid)
    for victim in victims:
        os.kill(pid if victim == "flow" else stack.services()[victim].pid, signal.SIGKILL)
    ended = victims != ("worker",)  # the flow: by itself, or with the process that it is a fork of
    if ended:
        invariants.no_process_is_left(key)
        invariants.nothing_half_written(name, key)
        if "worker" in victims:
            assert any("now Crashed" in line for line in stack.json("reconcile"))
        out, err = command.communicate(timeout=600)
        assert command.returncode == 5, out + err
        assert "again resumes it" in err
        assert stack.json("reconcile") is not None
    else:
        out, err = command.communicate(timeout=600)  # the flow goes on, or leaves with its worker
        assert command.returncode in (0, 5), out + err
        invariants.no_process_is_left(key)
    wait_for("the worker to be back", stack.healthy)
    report = stack.json("run", name)
    if command.returncode == 0:
        assert report["outcome"] == "unchanged"
    else:
        assert report["outcome"] == "promoted"
    if ended:
        assert report["training"]["resumed_from_step"] > 0
    assert (report["work_key"], report["version"]) == (key, before + 1)
    invariants.all_hold(name, report)
