"""Metrics reach MLflow in the end, whatever it does meanwhile, and each point once."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.infra.tracking import spool as spooling
from mlratchet.infra.tracking.memory import MemoryTracker
from mlratchet.infra.tracking.spool import MetricSpool, read_points, replay_spools
from mlratchet.models.errors import InfrastructureError

from tests.conftest import wait_for


class Unreliable(MemoryTracker):
    """Answers while `up` is set."""

    def __init__(self) -> None:
        super().__init__(MemoryStore("artifacts"))
        self.up = threading.Event()
        self.refused = threading.Event()

    def log_metrics(
        self, run_id: str, points: list[tuple[str, float, int]], *, times_s: list[float] | None = None
    ) -> None:
        if not self.up.is_set():
            self.refused.set()
            raise InfrastructureError("away")
        super().log_metrics(run_id, points, times_s=times_s)


@pytest.fixture
def tracker() -> Unreliable:
    return Unreliable()


@pytest.fixture
def run(tracker: Unreliable) -> str:
    return tracker.open_run("e", work_key="w", flow_run="f", name="n", tags={})


def test_what_is_added_is_logged_and_no_file_stays(tracker: Unreliable, run: str, tmp_path: Path) -> None:
    tracker.up.set()
    spool = MetricSpool(tracker, run, tmp_path)
    spool.add([("loss", 1.0, 1, 10.0), ("loss", 0.5, 2, 11.0)])
    assert spool.close(30) == 0
    assert tracker.logged_steps(run, "loss") == {1, 2}
    assert list(tmp_path.iterdir()) == []


def test_an_outage_is_waited_out(tracker: Unreliable, run: str, tmp_path: Path) -> None:
    spool = MetricSpool(tracker, run, tmp_path)
    spool.add([("loss", 1.0, 1, 10.0)])
    assert tracker.refused.wait(120)
    assert spool.waiting_steps("loss") == {1}
    tracker.up.set()
    assert spool.close(30) == 0
    assert tracker.logged_steps(run, "loss") == {1}


@pytest.mark.parametrize("up", [True, False], ids=["what is sent", "an outage that ends"])
def test_who_closes_waits_for_no_pause(
    tracker: Unreliable, run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, up: bool
) -> None:
    monkeypatch.setattr(spooling, "PAUSE_S", 3600.0)
    monkeypatch.setattr(spooling, "AGAIN_S", 3600.0)
    if up:
        tracker.up.set()
    before = {*threading.enumerate()}
    spool = MetricSpool(tracker, run, tmp_path)
    spool.add([("loss", 1.0, 1, 10.0)])
    wait_for("a first try", lambda: tracker.refused.is_set() or not spool.waiting_steps("loss"))
    tracker.up.set()
    assert spool.close(30) == 0
    assert tracker.logged_steps(run, "loss") == {1}
    assert {*threading.enumerate()} <= before


def test_what_an_outage_outlasts_is_replayed_by_reconcile(tracker: Unreliable, run: str, tmp_path: Path) -> None:
    spool = MetricSpool(tracker, run, tmp_path)
    spool.add([("loss", 1.0, 1, 10.0)])
    assert spool.close(0.0) == 1
    file = tmp_path / f"{run}.jsonl"
    with file.open("a") as sink:
        sink.write('["loss", 0.5')  # cut off by a kill
    assert read_points(file) == [("loss", 1.0, 1, 10.0)]
    tracker.up.set()
    now_s = file.stat().st_mtime
    assert replay_spools(tracker, tmp_path, now_s=now_s) == []  # its writer may still be there
    (line,) = replay_spools(tracker, tmp_path, now_s=now_s + 3600)
    assert "1 metric points replayed" in line
    assert tracker.logged_steps(run, "loss") == {1}
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_leaves_points_that_the_next_one_sends(tracker: Unreliable, run: str, tmp_path: Path) -> None:
    (tmp_path / f"{run}.jsonl").write_text('["loss", 2.0, 7, 5.0]\n')
    tracker.up.set()
    spool = MetricSpool(tracker, run, tmp_path)
    assert spool.close(30) == 0
    assert tracker.logged_steps(run, "loss") == {7}


def test_points_of_a_run_that_a_person_deleted_keep_nobody_elses_from_being_sent(
    tracker: Unreliable, run: str, tmp_path: Path
) -> None:
    (tmp_path / "0000-deleted.jsonl").write_text('["loss", 2.0, 7, 5.0]\n')
    (tmp_path / f"{run}.jsonl").write_text('["loss", 2.0, 7, 5.0]\n')
    tracker.up.set()
    dropped, sent = replay_spools(tracker, tmp_path, now_s=time.time() + 3600)
    assert "0000-deleted: 1 metric points dropped: the run was deleted there" in dropped
    assert "1 metric points replayed" in sent
    assert tracker.logged_steps(run, "loss") == {7}
    assert list(tmp_path.iterdir()) == []
