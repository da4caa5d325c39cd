"""Forks of a warm process that imports little: what they are, and how everybody ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from mlratchet.infra.machine.processes import STACK_MARK, WORK_MARK, marked_processes
from mlratchet.infra.warm.ask import Forked, Process, fork, start
from mlratchet.infra.warm.protocol import Request, connect, receive, send_request

TREE = """
import sys
from pathlib import Path
from mlratchet.infra.warm import tree
tree.STAGES = {"ranks": ("json", "mlratchet_other_probe"), "runs": ("numpy", "mlratchet_probe")}
tree.main(Path(sys.argv[1]))
"""
SLOW_TREE = TREE.replace(
    "tree.main(",
    """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)  # as what is started in the background has it
became = tree.become
tree.become = lambda *given, **named: (time.sleep(0.5), became(*given, **named))
tree.main(""",
)
PROGRAM = """
import os, signal, sys, time
import numpy as np
print(sys.argv[1:], os.getcwd(), os.environ.get("WORD"), os.environ.get("RATCHET_ROOM"), __name__, flush=True)
print("seed", np.random.default_rng().integers(1 << 60), np.random.randint(1 << 30), flush=True)
words = sys.argv + os.environ.get("DO", "").split()
if "term" in words:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(17))
print("pid", os.getpid(), flush=True)
if "sleep" in words or "term" in words:
    time.sleep(600)
if "kill" in words:
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(int(words[-1]) if words[-1].isdigit() else 0)
"""
PATIENCE_S = 120.0  # a busy machine is slow, not wrong; what a program sleeps is longer
HAND_OVER = (
    "import sys; from pathlib import Path; from mlratchet.infra.warm import hand_over as h; h.ENGINE = 'program'; "
)


def until(what: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def listens(home: Path) -> bool:
    """A socket is there as soon as it is bound, and refuses until its process listens."""
    try:
        connect(home, "runs").close()
    except OSError:
        return False
    return True


class Warm:
    """A warm process, and a program for its forks."""

    def __init__(self, folder: Path, tree: str = TREE) -> None:
        self.home, self.work, self.own = folder / "home", folder / "work", folder / "own"
        for made in (self.home / "run", self.work, self.own):
            made.mkdir(parents=True)
        (self.own / "program.py").write_text(PROGRAM)
        self.probe = self.own / "mlratchet_probe.py"
        self.probe.write_text("")
        self.probe_of_all = self.own / "mlratchet_other_probe.py"
        self.probe_of_all.write_text("")
        self.said = folder / "said.txt"
        mine = {key: value for key, value in os.environ.items() if not key.startswith("RATCHET")}
        self.environment = mine | {"PYTHONPATH": f"{self.work}:{self.own}", "WORD": "word"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", tree, str(self.home), "-" * 2048],
            env=mine | {"PYTHONPATH": str(self.own), "RATCHET_ROOM": "-" * 32_768, "WORD": "its own"},
        )
        until(lambda: listens(self.home))

    def fork(self, *arguments: str, stage: str = "runs", **environment: str) -> Forked:
        with self.said.open("ab") as sink:
            made = fork(
                stage, "program", arguments, self.home, self.environment | environment, sink.fileno(), signal.SIGTERM
            )
        assert made is not None
        return made

    def stages(self) -> list[psutil.Process]:
        return [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children()]


@pytest.fixture
def warm(tmp_path: Path) -> Iterator[Warm]:
    made = Warm(tmp_path)
    yield made
    made.process.kill()
    made.process.wait()


def test_a_fork_is_the_process_that_was_asked_for(warm: Warm) -> None:
    assert warm.fork("one", "3").wait(PATIENCE_S) == 3
    assert warm.said.read_text().startswith(f"['one', '3'] {Path.cwd()} word None __main__\n")


def test_forks_do_not_share_their_chance(warm: Warm) -> None:
    for _ in range(2):
        assert warm.fork().wait(PATIENCE_S) == 0
    drawn = [line.split()[1:] for line in warm.said.read_text().splitlines() if line.startswith("seed")]
    assert len({values[0] for values in drawn}) == len({values[1] for values in drawn}) == 2


def test_a_signal_that_comes_before_a_fork_has_become_its_program_is_not_lost(tmp_path: Path) -> None:
    warm = Warm(tmp_path, SLOW_TREE)
    try:
        with connect(warm.home, "runs") as asks, warm.said.open("ab") as sink:
            request = Request(
                module="program", arguments=("sleep",), directory=str(warm.work), environment=warm.environment,
                when_gone=signal.SIGKILL,
            )  # fmt: skip
            send_request(asks, request, [sink.fileno()] * 3)
            assert receive(asks)["pid"]
            asks.send(bytes([signal.SIGINT]))
            asks.settimeout(PATIENCE_S)
            status = receive(asks)["status"]
        assert os.waitstatus_to_exitcode(status) == -signal.SIGINT
        assert "pid" not in warm.said.read_text()
    finally:
        warm.process.kill()
        warm.process.wait()


def test_a_fork_ends_by_the_signal_that_ended_it(warm: Warm) -> None:
    assert warm.fork("kill").wait(PATIENCE_S) == -signal.SIGKILL


def test_a_fork_is_found_by_its_command_line_and_its_marks(warm: Warm) -> None:
    made = warm.fork("sleep", **{WORK_MARK: f"key-{warm.home}", STACK_MARK: "elsewhere"})
    until(lambda: marked_processes(WORK_MARK, f"key-{warm.home}"))
    (found,) = marked_processes(WORK_MARK, f"key-{warm.home}")
    assert found.pid == made.pid
    assert found.cmdline() == [sys.executable, "-m", "program", "sleep"]
    assert found.environ()[STACK_MARK] == "elsewhere"
    assert os.getsid(made.pid) == made.pid
    os.killpg(made.pid, signal.SIGKILL)
    assert made.wait(PATIENCE_S) == -signal.SIGKILL


def test_a_fork_whose_asker_is_killed_gets_the_signal(warm: Warm) -> None:
    code = f"""
import signal, time
from pathlib import Path
from mlratchet.infra.warm.ask import fork
import os
with open({str(warm.said)!r}, "ab") as sink:
    made = fork("runs", "program", ["sleep"], Path({str(warm.home)!r}), dict(os.environ), sink.fileno(), signal.SIGTERM)
print(made.pid, flush=True)
time.sleep(600)
"""
    asker = subprocess.Popen([sys.executable, "-c", code], env=warm.environment, stdout=subprocess.PIPE, text=True)
    assert asker.stdout is not None
    pid = int(asker.stdout.readline())
    assert psutil.pid_exists(pid)
    asker.kill()
    asker.wait()
    until(lambda: not psutil.pid_exists(pid))


@pytest.mark.parametrize("stage", [0, 1], ids=["first", "last"])
def test_whatever_stage_is_killed_its_forks_go_and_all_stages_end(warm: Warm, stage: int) -> None:
    made = warm.fork("sleep")
    stages = warm.stages()
    assert len(stages) == 2
    stages[stage].kill()
    assert made.wait(PATIENCE_S) == -signal.SIGKILL
    assert warm.process.wait(PATIENCE_S) in (0, -signal.SIGKILL)
    until(lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in stages))


def test_after_a_change_of_code_a_new_interpreter_starts_and_the_warm_process_ends_with_its_last_fork(
    warm: Warm,
) -> None:
    made = warm.fork("sleep")
    warm.probe.write_text("changed = True")
    with warm.said.open("ab") as sink:
        more: Process = start(
            "runs", "program", ["5"], home=warm.home, environment=warm.environment, output=sink.fileno(),
            when_gone=signal.SIGTERM,
        )  # fmt: skip
        assert not isinstance(more, Forked)
        assert more.wait(PATIENCE_S) == 5
        assert fork("runs", "program", [], warm.home, warm.environment, sink.fileno(), signal.SIGTERM) is None
    assert made.poll() is None
    os.kill(made.pid, signal.SIGKILL)
    assert made.wait(PATIENCE_S) == -signal.SIGKILL
    assert warm.process.wait(PATIENCE_S) == 0


def test_a_fork_that_ends_in_the_moment_in_which_its_asker_goes_ends_no_other(warm: Warm) -> None:
    """A busy machine shows both to the stage at once."""
    other = warm.fork("term")
    until(lambda: b"pid" in warm.said.read_bytes())
    asks = connect(warm.home, "runs")
    with Path(os.devnull).open("r+b") as nothing:
        request = Request(
            module="program", arguments=("sleep",), directory=str(Path.cwd()), environment=warm.environment,
            when_gone=signal.SIGTERM,
        )  # fmt: skip
        send_request(asks, request, [nothing.fileno()] * 3)
        pid = receive(asks)["pid"]
    stage = warm.stages()[-1]
    stage.suspend()
    os.kill(pid, signal.SIGKILL)
    until(lambda: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    asks.close()
    stage.resume()
    assert warm.fork("7").wait(PATIENCE_S) == 7
    os.kill(other.pid, signal.SIGTERM)
    assert other.wait(PATIENCE_S) == 17


def test_a_stage_that_a_change_of_code_outdates_takes_no_other_stages_fork_with_it(warm: Warm) -> None:
    """Something is installed while a run goes on; its training then asks the stage of the ranks, which has no fork."""
    made = warm.fork("term")
    until(lambda: b"pid" in warm.said.read_bytes())
    warm.probe_of_all.write_text("changed = True")
    with Path(os.devnull).open("wb") as sink:
        refused = fork("ranks", "program", (), warm.home, warm.environment, sink.fileno(), signal.SIGTERM)
    assert refused is None
    until(lambda: not listens(warm.home))
    with pytest.raises(subprocess.TimeoutExpired):
        made.wait(1.0)
    os.kill(made.pid, signal.SIGTERM)
    assert made.wait(PATIENCE_S) == 17
    assert warm.process.wait(PATIENCE_S) == 0


def test_a_file_of_the_users_that_shadows_an_imported_module_is_imported_by_a_new_interpreter(warm: Warm) -> None:
    (warm.work / "numpy.py").write_text("")
    with warm.said.open("ab") as sink:
        assert fork("runs", "program", [], warm.home, warm.environment, sink.fileno(), signal.SIGTERM) is None


def test_a_fork_and_a_new_interpreter_import_nothing_from_the_folder_they_start_in(
    warm: Warm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the fork becomes says when users' modules are found: when it is bound, or never."""
    (warm.work / "planted.py").write_text("open(__file__ + '.ran', 'w').close()")
    monkeypatch.chdir(warm.work)
    bare = {name: value for name, value in warm.environment.items() if name != "PYTHONPATH"}
    with warm.said.open("ab") as sink:
        forked = fork("runs", "planted", [], warm.home, warm.environment, sink.fileno(), signal.SIGTERM)
        assert forked is not None
        assert forked.wait(PATIENCE_S) == 1
        alone = start(
            "runs", "planted", [], home=None, environment=bare, output=sink.fileno(), when_gone=signal.SIGTERM
        )
        assert alone.wait(PATIENCE_S) == 1
    assert not (warm.work / "planted.py.ran").exists()


def hand_over(warm: Warm, do: str, *, home: Path | None = None) -> subprocess.Popen[str]:
    code = HAND_OVER + f"h.main(Path({str(home or warm.home)!r}))"
    return subprocess.Popen(
        [sys.executable, "-c", code], env=warm.environment | {"DO": do}, stdout=subprocess.PIPE, text=True
    )


def pid_of_the_fork(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return next(int(line.split()[1]) for line in process.stdout if line.startswith("pid"))


@pytest.mark.parametrize(("do", "code"), [("3", 3), ("", 0), ("kill", -signal.SIGKILL)], ids=["3", "0", "killed"])
@pytest.mark.parametrize("there", [True, False], ids=["warm", "without"])
def test_the_process_of_a_run_ends_as_the_run_ends(warm: Warm, tmp_path: Path, do: str, code: int, there: bool) -> None:
    process = hand_over(warm, do, home=warm.home if there else tmp_path / "nowhere")
    assert (pid_of_the_fork(process) != process.pid) == there
    assert process.wait(PATIENCE_S) == code


def test_a_signal_to_the_process_of_a_run_reaches_the_run(warm: Warm) -> None:
    process = hand_over(warm, "term")
    assert pid_of_the_fork(process) != process.pid
    process.terminate()
    assert process.wait(PATIENCE_S) == 17


def test_a_run_whose_process_is_killed_is_gone(warm: Warm) -> None:
    process = hand_over(warm, "sleep")
    pid = pid_of_the_fork(process)
    process.kill()
    until(lambda: not psutil.pid_exists(pid))


@pytest.mark.slow
def test_the_process_of_a_run_is_killed_with_the_warm_process(warm: Warm) -> None:
    process = hand_over(warm, "sleep")
    pid = pid_of_the_fork(process)
    warm.process.kill()
    assert process.wait(PATIENCE_S) == -signal.SIGKILL
    until(lambda: not psutil.pid_exists(pid))
