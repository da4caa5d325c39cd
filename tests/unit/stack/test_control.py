"""`up` and `down` at once, with a supervisor that only holds its lock: one state at the end, and each says which."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from mlratchet.infra.machine.processes import STACK_MARK, marked_processes
from mlratchet.infra.stack import control
from mlratchet.models.errors import InfrastructureError

from tests.conftest import wait_for

SUPERVISOR = """
import fcntl, json, os, signal, sys, time
from pathlib import Path
home = Path(sys.argv[1])
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
with (home / "run" / "supervisor.lock").open("a+") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    (home / "run" / "supervisor.pid").write_text(str(os.getpid()))
    time.sleep(600)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Whose supervisor never gets its services healthy by itself."""
    program = tmp_path / "program.py"
    program.write_text(SUPERVISOR)
    real = control.subprocess.Popen
    monkeypatch.setattr(
        control.subprocess, "Popen", lambda command, **more: real([sys.executable, str(program), command[-2]], **more)
    )
    yield (tmp_path / "home").resolve()
    control.down(tmp_path / "home")


def make_healthy(home: Path) -> None:
    state = [{"name": f"s{i}", "pid": 1, "url": None, "healthy": True, "log": ""} for i in range(4)]
    (home / "run" / "services.json").write_text(json.dumps(state))


def test_down_while_up_waits_ends_both(home: Path) -> None:
    ended: list[str] = []

    def bring_up() -> None:
        try:
            control.up(home, timeout_s=200)
        except InfrastructureError as error:
            ended.append(str(error))

    starting = threading.Thread(target=bring_up)
    starting.start()
    wait_for("the supervisor", lambda: control.supervisor_pid(home) is not None)
    control.down(home)
    starting.join(300)
    assert not starting.is_alive()
    assert "was stopped while it came up" in ended[0]
    assert control.supervisor_pid(home) is None
    assert marked_processes(STACK_MARK, str(home)) == []


def test_two_at_once_share_one_supervisor(home: Path) -> None:
    errors: list[BaseException] = []

    def bring_up() -> None:
        try:
            control.up(home, timeout_s=200)
        except BaseException as error:  # whatever it is, the test shows it
            errors.append(error)

    both = [threading.Thread(target=bring_up) for _ in range(2)]
    for one in both:
        one.start()
    wait_for("the supervisor", lambda: control.supervisor_pid(home) is not None)
    make_healthy(home)
    for one in both:
        one.join(300)
    assert errors == []
    assert len(marked_processes(STACK_MARK, str(home))) == 1


def test_a_supervisor_that_ends_at_once_is_told(home: Path) -> None:
    (home.parent / "program.py").write_text("raise SystemExit(3)")
    with pytest.raises(InfrastructureError, match=r"ended at once \(exit code 3\)"):
        control.up(home, timeout_s=200)


def test_down_of_a_folder_that_never_was_up_makes_nothing(tmp_path: Path) -> None:
    assert control.down(tmp_path / "none") == 0
    assert not (tmp_path / "none").exists()
