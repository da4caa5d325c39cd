"""Faults 19 and 42: one run started twice, and a flow that was stopped past its lease and goes on."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from typing import Any

import psutil
import pytest
from mlratchet.infra.machine.processes import WORK_MARK, marked_processes
from mlratchet.infra.machine.scratch import is_gone
from mlratchet.models.identity.claim import read_claims
from mlratchet.models.identity.lease import LEASE_S, holder_of, read_leases

from tests.conftest import Stack, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.slow]


def claimed_work(stack: Stack, before: set[str]) -> str | None:
    """The work key that was claimed since."""
    new = {info.key.split("/")[1] for info in stack.adapters.store.list("work/")} - before
    return next(iter(new), None)


def signal_all(processes: list[psutil.Process], what: signal.Signals) -> None:
    """To each that lives."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(what)


def works(stack: Stack) -> set[str]:
    return {info.key.split("/")[1] for info in stack.adapters.store.list("work/")}


def test_a_run_that_is_started_twice_is_one_run(stack: Any, invariants: Any) -> None:
    """Fault 42."""
    name = stack.pipeline("twice", "epochs: 20 -> epochs: 40", "processes: 2 -> processes: 1")
    stack("upload", name, "rows.csv")
    before = works(stack)
    first = stack.start("run", name, "--local", "--json")
    key = wait_for("the first to claim the work", lambda: claimed_work(stack, before))
    training = wait_for("the first to train", lambda: marked_processes(WORK_MARK, key))
    signal_all(training, signal.SIGSTOP)  # the flow is alive and holds the work for as long as the second needs
    try:
        second = stack.start("run", name, "--local", "--json")
        out, err = second.communicate(timeout=600)
    finally:
        signal_all(training, signal.SIGCONT)
    refused = json.loads(out)
    assert second.returncode == 5, out + err
    assert refused["line"].startswith(f"HELD: work {key[:12]} of {name} is under way in run ")
    out, err = first.communicate(timeout=600)
    assert first.returncode == 0, out + err
    assert [claim.epoch for claim in read_claims(stack.adapters.store, key)] == [1]
    assert [held for held in read_leases(stack.adapters.store) if held.lease.pipeline == name] == []  # I6
    invariants.all_hold(name, json.loads(out))


@pytest.mark.full
@pytest.mark.timeout(1500)
def test_a_flow_that_is_stopped_past_its_lease_and_continued_does_no_harm(stack: Any, invariants: Any) -> None:
    """Fault 19: with a real SIGSTOP for as long as a lease lasts."""
    name = stack.pipeline("stopped", "epochs: 20 -> epochs: 300", "processes: 2 -> processes: 1")
    stack("upload", name, "rows.csv")
    before = works(stack)
    first = stack.start("run", name, "--local", "--json")
    key = wait_for("the first to claim the work", lambda: claimed_work(stack, before))
    store = stack.adapters.store
    held = holder_of(store, key, run="", is_gone=is_gone)
    assert held is not None
    os.kill(held.lease.pid, signal.SIGSTOP)
    try:
        second = stack.start("run", name, "--local", "--json")
        out, err = second.communicate(timeout=LEASE_S + 300)
    finally:
        os.kill(held.lease.pid, signal.SIGCONT)
    report = json.loads(out)
    assert (second.returncode, report["outcome"]) == (0, "promoted"), out + err
    out, err = first.communicate(timeout=600)
    assert first.returncode in (0, 5), out + err
    assert len(stack.adapters.ledger.entries(name)) == 1
    stack("reconcile")
    invariants.all_hold(name, report)
