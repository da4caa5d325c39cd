"""What a stack leaves on the disk is cleared, however it ended, and what lives is not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from mlratchet.infra.machine.free_ports import GRPC_OFFSET, HIGHEST, NAMES
from mlratchet.infra.machine.temporary import remove_abandoned_workplaces, service_folder, temporary_folder
from mlratchet.infra.settings import TEMPORARY_ROOT
from mlratchet.infra.stack.leftovers import SOCKETS, clear_leftovers
from mlratchet.infra.stack.services import Service
from mlratchet.infra.stack.supervisor import SupervisedService

WAITS = "import tempfile; print(tempfile.mkdtemp(suffix='prefect'), flush=True); input()"
PORT = HIGHEST + 100  # no stack of this machine is given it; the sockets' names are 10,000 higher


def in_folder(folder: Path) -> subprocess.Popen[str]:
    """A run's process, which has made itself a folder there."""
    environment = {**os.environ, "TMPDIR": str(folder)}
    process = subprocess.Popen(
        [sys.executable, "-c", WAITS], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip().startswith(f"{folder}/")
    return process


def test_a_service_begins_without_what_the_killed_one_before_it_left(tmp_path: Path) -> None:
    folder = service_folder(tmp_path, "worker")
    process = in_folder(folder)
    (made,) = folder.iterdir()
    assert service_folder(tmp_path, "worker") == folder
    assert made.is_dir()  # its worker died, and the run goes on
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (folder / "listener").symlink_to(tmp_path)
    service_folder(tmp_path, "worker")
    assert [*folder.iterdir()] == []
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_folder_of_a_run_that_outlived_its_worker_is_removed_when_nobody_works_there(tmp_path: Path) -> None:
    folder = service_folder(tmp_path, "worker")
    left, used, fresh, other = (folder / name for name in ("tmp1prefect", "tmp2prefect", "tmp3prefect", "other"))
    for one in (left, used, fresh, other):
        one.mkdir()
    (used / "below").mkdir()
    with subprocess.Popen([sys.executable, "-c", "input()"], cwd=used / "below", stdin=subprocess.PIPE) as process:
        for one in (left, used, other):
            os.utime(one, (1.0, 1.0))
        remove_abandoned_workplaces(tmp_path)
        assert {*folder.iterdir()} == {used, fresh, other}
        process.kill()
    remove_abandoned_workplaces(tmp_path)
    assert {*folder.iterdir()} == {fresh, other}


def test_what_a_service_of_the_stack_makes_lies_below_the_home_and_what_ratchet_makes_at_a_short_path(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    (home / "logs").mkdir(parents=True)
    script = (
        "import tempfile; from mlratchet.infra.machine.temporary import temporary_folder as ours\n"
        "with ours('attempt') as made: print(tempfile.gettempdir(), made, sep='\\n')"
    )
    command = (sys.executable, "-c", script)
    kept = SupervisedService(Service(name="one", command=command, environment={**os.environ}, directory=tmp_path), home)
    kept.start()
    assert kept.process is not None
    assert kept.process.wait(60) == 0
    theirs, ours = kept.log.read_text().split()
    assert theirs == str(home / "tmp" / "one")
    assert ours.startswith(f"{tempfile.gettempdir()}/ratchet-attempt-")


def test_sockets_folders_and_what_killed_processes_made_are_gone_after_the_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TEMPORARY_ROOT, str(tmp_path / "short"))
    (tmp_path / "short").mkdir()
    home = tmp_path / "home"
    (service_folder(home, "seaweedfs") / "weed.INFO").write_text("x")
    (home / "ports.json").write_text(json.dumps({name: PORT + number for number, name in enumerate(NAMES)}))
    ports = {name: PORT + number + GRPC_OFFSET for number, name in enumerate(NAMES)}
    sockets = [Path(f"/tmp/seaweedfs-{server}-grpc-{ports[name]}.sock") for server, name in SOCKETS.items()]
    other = Path(f"/tmp/seaweedfs-filer-grpc-{PORT + GRPC_OFFSET + 90}.sock")
    killed = (
        "import os, signal; from mlratchet.infra.machine.temporary import temporary_folder as ours; "
        "made = ours('attempt'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    try:
        for socket in (*sockets, other):
            socket.touch()
        subprocess.run([sys.executable, "-c", killed], check=False)
        assert len([*(tmp_path / "short").iterdir()]) == 1
        with temporary_folder("child") as mine:
            assert clear_leftovers(home) == 0
            assert [*(tmp_path / "short").iterdir()] == [Path(mine)]
        assert [socket for socket in (*sockets, other) if socket.exists()] == [other]
        assert not (home / "tmp").exists()
    finally:
        for socket in (*sockets, other):
            socket.unlink(missing_ok=True)


def test_a_home_that_never_had_a_stack_has_no_leftovers(tmp_path: Path) -> None:
    assert clear_leftovers(tmp_path) == 0
    assert [*tmp_path.iterdir()] == []
