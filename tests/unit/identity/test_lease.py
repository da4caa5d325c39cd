"""Leases say who lives; epochs say who may write, whatever the clocks say."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from mlratchet.infra.machine.scratch import is_gone, lease_of, this_machine
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.identity import lease as leases
from mlratchet.models.identity.claim import is_current, take_claim
from mlratchet.models.identity.lease import (
    LEASE_S,
    HeldError,
    Lease,
    LeaseKeeper,
    holder_of,
    live_leases,
    read_leases,
    wait_until_free,
)

from tests.conftest import wait_for

ELSEWHERE = Lease(run="r1", pipeline="digits", owner="ada", machine="other/boot/1", pid=7, born_s=0.0)


class Clocked(MemoryStore):
    """A store whose clock the test turns."""

    def __init__(self) -> None:
        super().__init__("store")
        self.now_s = 1_000_000.0

    def put(self, key: str, data: bytes) -> None:
        super().put(key, data)
        self._objects[key] = (data, self.now_s)


def claim(store: MemoryStore, run: str) -> Any:
    return take_claim(store, "w", parent_version=None, owner=run, now_s=time.time(), run=run)


def hold(store: MemoryStore, lease: Lease) -> None:
    LeaseKeeper(store, lease, renew_s=3600.0)
    claim(store, lease.run)


def test_a_second_start_of_living_work_is_refused_and_told_who_holds_it() -> None:
    store = Clocked()
    hold(store, ELSEWHERE)
    renewals = iter([False, True])

    def pause(_: float) -> None:
        store.now_s += 5
        if next(renewals):
            store.put(leases.lease_key("r1"), store.get(leases.lease_key("r1")))

    with pytest.raises(HeldError, match=r"work w of digits is under way in run r1 by ada \(pid 7 on other\)"):
        wait_until_free(store, "w", run="r2", is_gone=is_gone, pause=pause)
    wait_until_free(store, "w", run="r1", is_gone=is_gone)  # its own retry
    wait_until_free(store, "v", run="r2", is_gone=is_gone)  # other work


def test_a_silent_holder_loses_the_work_when_its_lease_runs_out_and_not_before() -> None:
    store = Clocked()
    hold(store, ELSEWHERE)
    began = store.now_s

    def pause(seconds: float) -> None:
        store.now_s += seconds

    wait_until_free(store, "w", run="r2", is_gone=is_gone, pause=pause)
    assert LEASE_S < store.now_s - began <= LEASE_S + 2 * leases.POLL_S


def test_a_dead_process_of_this_machine_holds_nothing() -> None:
    store = Clocked()
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    dead = replace(ELSEWHERE, machine=this_machine(), pid=int(ended.stdout), born_s=time.time())
    assert is_gone(dead)
    assert not is_gone(replace(dead, machine="other/boot/1"))
    assert not is_gone(lease_of("me", "digits", "ada"))
    hold(store, dead)
    assert holder_of(store, "w", run="r2", is_gone=is_gone) is None
    wait_until_free(store, "w", run="r2", is_gone=is_gone)


def test_a_lease_that_was_given_back_holds_nothing() -> None:
    store = Clocked()
    keeper = LeaseKeeper(store, ELSEWHERE)
    claim(store, "r1")
    assert [held.lease.run for held in live_leases(store, is_gone=is_gone)] == ["r1"]
    keeper.close()
    assert read_leases(store) == []
    wait_until_free(store, "w", run="r2", is_gone=is_gone)


@pytest.mark.parametrize("off_s", [-3600.0, 3600.0])
def test_a_clock_that_is_an_hour_off_changes_neither_leases_nor_who_may_write(
    monkeypatch: pytest.MonkeyPatch, off_s: float
) -> None:
    """Fault 43."""
    store, real = Clocked(), time.time
    hold(store, ELSEWHERE)
    first = claim(store, "r1")
    monkeypatch.setattr(time, "time", lambda: real() + off_s)
    assert holder_of(store, "w", run="r2", is_gone=is_gone) is not None  # still held
    second = claim(store, "r2")  # even a taker that did not ask
    assert (is_current(store, first), is_current(store, second)) == (False, True)
    monkeypatch.setattr(time, "time", lambda: real() - off_s)
    assert (is_current(store, first), is_current(store, second)) == (False, True)
    assert claim(store, "r1").epoch == second.epoch + 1


def test_a_keeper_renews_and_knows_when_it_was_silent_for_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Clocked()
    keeper = LeaseKeeper(store, ELSEWHERE, renew_s=0.01)
    store.now_s += 30
    deadline = time.monotonic() + 120
    while read_leases(store)[0].age_s > 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert read_leases(store)[0].age_s == 0
    assert not keeper.lapsed
    real = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + LEASE_S + 1)  # as after a SIGSTOP
    assert keeper.lapsed
    deadline = real() + 120
    while keeper._longest_s <= LEASE_S and real() < deadline:
        time.sleep(0.01)
    monkeypatch.setattr(time, "monotonic", real)
    assert keeper.lapsed  # renewing again does not make the gap unseen
    keeper.close()


def test_a_keeper_goes_on_after_a_server_that_had_just_started_knew_no_key() -> None:
    """It says `AccessDenied`, which is told as a mistake in the settings; a run that lives would be taken for dead."""
    refused = threading.Event()

    class Starting(Clocked):
        def put(self, key: str, data: bytes) -> None:
            if key == leases.lease_key("r1") and self.exists(key) and not refused.is_set():
                refused.set()
                raise ConfigurationError("the server said AccessDenied")
            super().put(key, data)

    store = Starting()
    keeper = LeaseKeeper(store, ELSEWHERE, renew_s=0.01)
    assert refused.wait(60)
    store.now_s += 30
    wait_for("a renewal", lambda: read_leases(store)[0].age_s == 0)
    keeper.close()
