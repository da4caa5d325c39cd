"""When whoever follows a run gives up."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mlratchet.flows.runs.liveness import SILENT_S, STARTING_S, SignOfLife
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.errors import InfrastructureError
from mlratchet.models.identity.lease import RENEW_S, lease_key
from mlratchet.models.ports.storage import StorageError


class Refusing(MemoryStore):
    """Takes objects while there is room."""

    full = False

    def put(self, key: str, data: bytes) -> None:
        if self.full:
            raise StorageError(f"write {self.bucket}/{key}: no space")
        super().put(key, data)


class Watch:
    """A run `r`, followed by a clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.store = Refusing("store")
        self.pulse = SignOfLife(self.store, "r", "ratchet run digits --set train.seed=1", clock=lambda: self.now)

    def renew(self) -> None:
        self.store.put(lease_key("r"), str(self.now).encode())

    def follow(
        self, seconds: float, each: Callable[[], None] = lambda: None, *, state: str = "RUNNING", progress: object = 1
    ) -> float:
        """Look every half second; returns when it gave up, by raising."""
        end = self.now + seconds
        while self.now < end:
            each()
            self.pulse.check(state, progress)
            self.now += 0.5
        return self.now


@pytest.fixture
def watch() -> Watch:
    return Watch()


def test_a_run_that_is_silent_is_given_up_and_the_message_says_what_to_do(watch: Watch) -> None:
    watch.renew()
    with pytest.raises(InfrastructureError, match=r"for 180 s.*`ratchet run digits --set train\.seed=1` resumes run r"):
        watch.follow(10 * SILENT_S)
    assert SILENT_S <= watch.now <= SILENT_S + 2 * RENEW_S


def test_a_run_that_renews_its_lease_is_followed_however_long_a_step_takes(watch: Watch) -> None:
    assert watch.follow(20 * SILENT_S, watch.renew) == 20 * SILENT_S


def test_a_run_whose_tasks_move_is_alive_before_it_has_a_lease(watch: Watch) -> None:
    for step in range(5):
        watch.follow(0.9 * SILENT_S, progress=step)
    assert watch.now == 4.5 * SILENT_S


def test_a_run_that_waits_may_be_silent(watch: Watch) -> None:
    watch.follow(20 * SILENT_S, state="PAUSED")
    with pytest.raises(InfrastructureError, match="no sign of life"):
        watch.follow(20 * SILENT_S)
    assert watch.now >= 21 * SILENT_S - RENEW_S  # counted from when it began to run


@pytest.mark.parametrize(("state", "patience_s"), [("CANCELLING", SILENT_S), ("PENDING", STARTING_S)])
def test_a_run_that_does_not_begin_or_does_not_end_is_given_up(watch: Watch, state: str, patience_s: float) -> None:
    with pytest.raises(InfrastructureError, match=f"the run {state.lower()}, but it has given no sign of life"):
        watch.follow(10 * patience_s, state=state)
    assert patience_s <= watch.now <= patience_s + 2 * RENEW_S


def test_a_store_that_takes_nothing_ends_the_wait_in_any_state(watch: Watch) -> None:
    watch.follow(SILENT_S, watch.renew)
    watch.store.full = True
    began = watch.now
    with pytest.raises(StorageError, match=r"for 180 s: write store/.*: no space; no run can end meanwhile"):
        watch.follow(10 * SILENT_S, state="PAUSED")
    assert SILENT_S - RENEW_S <= watch.now - began <= SILENT_S + RENEW_S


def test_a_store_that_recovers_in_time_ends_nothing(watch: Watch) -> None:
    for _ in range(5):
        watch.store.full = True
        watch.follow(0.7 * SILENT_S, state="PAUSED")
        watch.store.full = False
        watch.follow(2 * RENEW_S, state="PAUSED")
    assert watch.now > 3 * SILENT_S
