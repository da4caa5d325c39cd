"""Fault 39 on the disk of the stack: SQLite of MLflow and Prefect, and the volumes of SeaweedFS, have no room."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from mlratchet.infra.settings import apply_environment

from tests.conftest import Stack, wait_for
from tests.faults.conftest import Invariants

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.full]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Stack]:
    """A stack with 400 MB for everything that it keeps."""
    made = Stack(tmp_path)
    data = made.home / "data"
    data.mkdir(parents=True, mode=0o700)
    mount = shutil.which("mount") or "mount"
    done = subprocess.run([mount, "-t", "tmpfs", "-o", "size=400m", "ratchet-test", str(data)], capture_output=True)
    if done.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
    before = dict(os.environ)
    try:
        made("up")
        apply_environment(made.settings)
        yield made
    finally:
        os.environ.clear()
        os.environ.update(before)
        made("down")
        subprocess.run(["umount", "-l", str(data)], check=True)


@pytest.fixture
def small_home(tmp_path: Path) -> Iterator[Stack]:
    """A stack whose whole home has 600 MB."""
    made = Stack(tmp_path)
    made.home.mkdir(parents=True, mode=0o700)
    mount = shutil.which("mount") or "mount"
    command = [mount, "-t", "tmpfs", "-o", "size=600m,mode=700", "ratchet-test", str(made.home)]
    done = subprocess.run(command, capture_output=True)
    if done.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
    try:
        made("up")
        yield made
    finally:
        made("down")
        subprocess.run(["umount", "-l", str(made.home)], check=True)


def fill(folder: Path) -> Path:
    """To the last block."""
    file = folder / "filler"
    try:
        with file.open("wb", buffering=0) as sink:
            while True:
                sink.write(bytes(4096))
    except OSError:
        return file


def test_39_a_full_disk_of_the_stack_is_one_line_and_the_next_run_ends_well(small: Stack) -> None:
    name = small.pipeline("two", "processes: 2 -> processes: 1")
    small("upload", name, "rows.csv")
    filler = fill(small.home / "data")
    failed = small("run", name, code=5)
    assert len([line for line in failed.stderr.splitlines() if line.startswith(("STORAGE", "INFRA"))]) == 1
    assert small.adapters.ledger.head(name) is None
    wait_for("the store to be seen not to take objects", lambda: not small.services()["seaweedfs"].healthy)
    filler.unlink()
    wait_for("SeaweedFS to be started anew and healthy", small.healthy)
    report = small.json("run", name)
    assert report["outcome"] == "promoted"
    Invariants(small).all_hold(name, report)


def test_39_a_disk_that_fills_up_under_a_run_ends_the_wait_for_it_and_with_room_again_the_work_is_resumed(
    small: Stack,
) -> None:
    """Nobody can record how that run ended: whoever waits for it must not wait for ever."""
    name = small.pipeline("two", "processes: 2 -> processes: 1", "epochs: 20 -> epochs: 300")
    small("upload", name, "rows.csv")
    waiting = small.start("run", name)
    wait_for("a first checkpoint", lambda: [i for i in small.adapters.store.list("work/") if "/checkpoints/" in i.key])
    filler = fill(small.home / "data")
    out, err = waiting.communicate(timeout=600)
    assert waiting.returncode == 5, out + err
    assert "Traceback" not in err
    assert len([line for line in err.splitlines() if line.startswith(("STORAGE", "INFRA"))]) == 1
    filler.unlink()
    wait_for("SeaweedFS to be started anew and healthy", small.healthy)
    report = small.json("run", name)
    assert report["outcome"] == "promoted"
    Invariants(small).all_hold(name, report)


def test_39_a_full_disk_under_the_home_itself_ends_nothing_and_all_comes_back(small_home: Stack) -> None:
    stack = small_home
    name = stack.pipeline("two", "processes: 2 -> processes: 1")
    stack("upload", name, "rows.csv")
    assert stack.json("run", name)["outcome"] == "promoted"
    supervisor = int((stack.home / "run" / "supervisor.pid").read_text())
    row = stack.project / "row.json"
    row.write_text(json.dumps({f"x{n}": 0.5 for n in range(10)}))
    filler = fill(stack.home)
    before = time.monotonic()
    wait_for("some looks of the supervisor", lambda: time.monotonic() - before > 15)
    assert psutil.pid_exists(supervisor)
    assert stack.json("predict", name, str(row))["version"] == 1
    filler.unlink()
    wait_for("everything to be healthy again", stack.healthy)
    assert int((stack.home / "run" / "supervisor.pid").read_text()) == supervisor
    assert stack.json("run", name)["outcome"] == "unchanged"
