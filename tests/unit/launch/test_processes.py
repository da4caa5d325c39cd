"""Ownership of processes and scratch folders."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import pytest
from mlratchet.infra.launch.attempt import attempt_error, error_of, result_of
from mlratchet.infra.launch.local import Tail, resolve_processes
from mlratchet.infra.machine import processes
from mlratchet.infra.machine.processes import marked_processes, sweep, wait_until_gone
from mlratchet.infra.machine.scratch import open_scratch, orphaned_runs, remove_scratch
from mlratchet.infra.machine.temporary import SHARED_MEMORY, remove_abandoned_folders, temporary_folder
from mlratchet.models.errors import ConfigurationError, DataError, InfrastructureError, RatchetError, SecurityError
from mlratchet.models.pipeline.spec import WorkloadRef
from mlratchet.models.ports.storage import StorageError
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.job import Rendezvous, StaleAttemptError, TrainingError, TrainJob

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)


@pytest.mark.slow
def test_a_sweep_ends_every_marked_process_and_its_children_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "GRACE_S", 0.5)  # they take none
    value = uuid.uuid4().hex
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {STUBBORN!r}])"
    marked = subprocess.Popen(
        [sys.executable, "-c", child], env={**os.environ, "RATCHET_TEST_MARK": value}, stdout=subprocess.PIPE
    )
    other = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE)
    try:
        assert marked.stdout is not None
        assert marked.stdout.readline() == b"up\n"
        assert len(marked_processes("RATCHET_TEST_MARK", value)) == 2
        assert sweep("RATCHET_TEST_MARK", value) == 2
        assert marked_processes("RATCHET_TEST_MARK", value) == []
        assert other.poll() is None
        assert sweep("RATCHET_TEST_MARK", value) == 0
    finally:
        other.kill()
        other.wait()
        marked.wait()
        for process in (marked, other):
            if process.stdout is not None:
                process.stdout.close()


def test_waiting_for_a_process_that_has_ended_takes_no_time() -> None:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    assert wait_until_gone(process.pid, 20)
    process.wait()
    assert not wait_until_gone(os.getpid(), 0)


def test_a_scratch_folder_is_orphaned_when_its_owner_is_gone(tmp_path: Path) -> None:
    mine = open_scratch(tmp_path, "mine")
    assert orphaned_runs(tmp_path) == []
    script = (
        "import sys; from pathlib import Path; from mlratchet.infra.machine.scratch import open_scratch; "
        f"open_scratch(Path({str(tmp_path)!r}), 'theirs')"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert orphaned_runs(tmp_path) == ["theirs"]
    remove_scratch(tmp_path, "theirs")
    remove_scratch(tmp_path, "theirs")
    assert orphaned_runs(tmp_path) == []
    assert mine.is_dir()


def test_what_a_killed_process_left_in_tmp_is_removed_and_what_a_living_one_uses_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    script = (
        "import os, signal, sys, tempfile; from mlratchet.infra.machine.temporary import temporary_folder; "
        f"tempfile.tempdir = {str(tmp_path)!r}; made = temporary_folder('child'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script], check=False)
    (left,) = tmp_path.iterdir()
    (left / "rows").write_text("1")
    for other in ("ratchet-child-abc", f"pytest-{left.name}"):
        (tmp_path / other).mkdir()
    with temporary_folder("child") as mine:
        remove_abandoned_folders()
        assert Path(mine).is_dir()
        assert not left.exists()
    assert len(list(tmp_path.iterdir())) == 2


def test_what_a_killed_run_kept_for_a_child_goes_with_what_it_made_itself(tmp_path: Path) -> None:
    """Gigabytes of a delivery lie there, below the folder of the service that started the run."""
    (tmp_path / "tmp" / "worker").mkdir(parents=True)
    script = (
        "import os, signal, sys, tempfile; from mlratchet.infra.machine.temporary import name_folders; "
        "from mlratchet.models.ports.memory import ObjectsOnDisk; from mlratchet.models.sources.partners import _Disk; "
        f"tempfile.tempdir = {str(tmp_path / 'tmp' / 'worker')!r}; name_folders(); held = ObjectsOnDisk(), _Disk(); "
        "held[0].create('much', bytes(1 << 20)); print('there', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "there\n"
    remove_abandoned_folders(tmp_path)
    made = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {file.parent.name.split("-")[1] for file in made} == {"objects", "join"}, "it is still there"
    process.kill()
    process.communicate()
    remove_abandoned_folders(tmp_path)
    assert list((tmp_path / "tmp" / "worker").iterdir()) == []


def test_a_folder_of_another_machine_is_not_ours_to_remove(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers share a /tmp, and a process number means nothing in another one."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "ratchet-child-4194303-1000-deadbeef-xyz").mkdir()
    remove_abandoned_folders()
    assert len(list(tmp_path.iterdir())) == 1


def test_semaphores_that_nobody_lived_to_remove_are_removed() -> None:
    """Of a session that was killed whole, as an attempt is: the tracker that would remove them is killed, too."""
    script = (
        "import multiprocessing, sys\n"
        "from mlratchet.infra.machine.temporary import name_semaphores\n"
        "name_semaphores(); lock = multiprocessing.get_context('forkserver').Lock()\n"
        "print(lock._semlock.name, flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    file = SHARED_MEMORY / f"sem.{process.stdout.readline().strip().removeprefix('/')}"
    remove_abandoned_folders()
    assert file.exists()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert file.exists(), "who removes it was killed"
    remove_abandoned_folders()
    assert not file.exists()


def test_more_processes_than_the_machine_has_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"got 1000, but this machine has \d+ CPU cores"):
        resolve_processes(TrainConfig(mode="fast", processes=1000, global_batch_size=1000, device="cpu"))


def test_auto_starts_a_process_per_core_as_far_as_the_mode_allows() -> None:
    cores = len(os.sched_getaffinity(0))
    assert resolve_processes(TrainConfig(mode="fast", device="cpu", global_batch_size=7)) == 1
    assert resolve_processes(TrainConfig(shards=1, device="cpu")) == 1
    found = resolve_processes(TrainConfig(shards=4, device="cpu"))
    assert found <= min(cores, 4)
    assert 4 % found == 0


def test_the_tail_of_a_growing_file_passes_each_epoch_and_step_once(tmp_path: Path) -> None:
    seen: list[str] = []
    file = tmp_path / "events.jsonl"
    tail = Tail(file, lambda event: seen.append(event.get("text") or str(event.get("epoch") or -event["step"])))
    tail.read()
    file.write_text('{"event": "epoch", "epoch": 1}\n{"event": "epoch", "epo')
    tail.read()
    with file.open("a") as sink:
        sink.write('ch": 2}\n{"event": "note", "step": 0, "text": "resumed"}\n{"event": "epoch", "epoch": 1}\n')
        sink.write('{"event": "step", "step": 8}\n{"event": "epoch", "epoch": 3}\n{"event": "step", "step": 8}\n')
    tail.read()
    assert seen == ["1", "2", "resumed", "-8", "3"]


def test_what_a_rank_said_is_what_is_raised(tmp_path: Path) -> None:
    job = TrainJob(
        work_key="w", epoch=1, dataset_id="d", workload=WorkloadRef(use="a.b:C"), train=TrainConfig(nodes=2),
        processes=1, scratch=str(tmp_path), rendezvous=Rendezvous(endpoint="10.0.0.1:29400", run_id="r"),
    )  # fmt: skip
    log = tmp_path / "ranks.log"
    log.write_text("noise\nOSError: no space left\nmore noise\n")
    assert "OSError: no space left" in str(attempt_error(job, 1))
    log.write_text("  exitcode  : -9 (pid: 7)\n  error_file: <N/A>\n")
    assert "a rank was killed (SIGKILL) more than 3 times; when nobody did it, the kernel had" in str(
        attempt_error(job, 1)
    )
    log.write_text("StallError: rank 0 made no step for 9 s\nFileNotFoundError: of its loader\n")
    assert "StallError: rank 0 made no step for 9 s; running again" in str(attempt_error(job, 1))
    log.write_text("RuntimeError: ... EADDRINUSE ...\n")
    assert "rendezvous port 10.0.0.1:29400 is taken" in str(attempt_error(job, 1))
    log.write_text("torch.distributed.elastic.rendezvous.api.RendezvousTimeoutError\n")
    assert "2 are wanted and not all met at 10.0.0.1:29400 within 600 s" in str(attempt_error(job, 1))
    (tmp_path / "error.json").write_text('{"code": "TRAIN", "exit_code": 3, "message": "loss is nan at step 4"}')
    error = attempt_error(job, 3)
    assert (error.exit_code, error.line()) == (3, "TRAIN: loss is nan at step 4")


@pytest.mark.parametrize(
    "said",
    [
        b"", b"{", b"[]", b"7", b"null", b"{}", b"\xff", b"[" * 100_000,
        b'{"code": "TRAIN", "exit_code": 0, "message": "well done"}',
        b'{"code": "TRAIN", "exit_code": "3", "message": "m"}',
        b'{"code": "TRAIN", "exit_code": 3, "message": ["m"]}',
        b'{"code": ["TRAIN"], "exit_code": 3, "message": "m"}',
        b'{"code": "GATE", "exit_code": 4, "message": "refused"}',
        b'{"code": "OK", "exit_code": 3, "message": "m"}',
    ],
)  # fmt: skip
def test_words_of_a_rank_that_are_no_error_of_ours_are_an_error_all_the_same(said: bytes) -> None:
    error = error_of(said)
    assert isinstance(error, InfrastructureError)
    assert error.line().startswith("INFRA: the ranks ended, and what one of them said is no error of ours")


@pytest.mark.parametrize(
    ("code", "exit_code", "kind"),
    [
        ("CONFIG", 2, ConfigurationError), ("DATA", 3, DataError), ("TRAIN", 3, TrainingError),
        ("STALE", 5, StaleAttemptError), ("STORAGE", 5, StorageError), ("SECURITY", 6, SecurityError),
    ],
)  # fmt: skip
def test_an_error_of_a_rank_is_of_its_own_kind_and_moves_no_cursor(
    code: str, exit_code: int, kind: type[RatchetError]
) -> None:
    said = {"code": code, "exit_code": exit_code, "message": "a\x1b[2J" + "b" * 100_000}
    error = error_of(json.dumps(said).encode())
    assert type(error) is kind
    assert (error.code, error.exit_code) == (code, exit_code)
    assert str(error).startswith("a?[2Jbbb")
    assert len(str(error)) < 5000


@pytest.mark.parametrize("line", ['{"event": "step", "step": Infinity}', '{"event": "epoch", "epoch": 1, "of": 0}'])
def test_numbers_that_are_none_end_no_training(tmp_path: Path, line: str) -> None:
    heard: list[float] = []
    file = tmp_path / "events.jsonl"
    file.write_text(f'{line}\n{{"event": "epoch", "epoch": 2, "of": 4}}\n')
    Tail(file, lambda event: heard.append(event["epoch"] / event["of"])).read()
    assert heard == [0.5]


@pytest.mark.parametrize("said", [b"", b"{", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"steps": Infinity}'])
def test_a_result_that_is_none_is_an_error_of_ours(said: bytes) -> None:
    with pytest.raises(InfrastructureError, match="told a result that is none"):
        result_of(said)


def test_a_folder_that_a_run_is_just_making_is_no_dead_runs(tmp_path: Path) -> None:
    """Between its making and its signature `ratchet reconcile` would declare the run crashed, and take it away."""
    folder = tmp_path / "scratch" / "begins"
    folder.mkdir(parents=True)
    assert orphaned_runs(tmp_path) == []
    os.utime(folder, (time.time() - 3600, time.time() - 3600))
    assert orphaned_runs(tmp_path) == ["begins"]
