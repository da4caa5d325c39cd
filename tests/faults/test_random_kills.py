"""25 kills at random moments, of every kind of process that a run or the stack has, SIGKILL, and nothing is left.

All runs train to the same weights, each under a work key of its own, which the pipeline's name is part of: what a kill
changed would show in them.
"""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlratchet.infra.machine.processes import STACK_MARK, WORK_MARK, marked_processes
from mlratchet.infra.machine.temporary import SHARED_MEMORY, is_abandoned, remove_abandoned_folders
from mlratchet.infra.settings import apply_environment, temporary_root
from mlratchet.infra.stack.install import remembered_credentials
from mlratchet.models.registration.record import find_registration

from tests.conftest import Stack, wait_for
from tests.faults.conftest import Invariants
from tests.faults.stack_processes import KINDS, processes_of

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.full, pytest.mark.timeout(1800)]

SEED, KILLS, SERIES = 20261126, 25, 5  # as many kills, one after the other, of work that is then brought to its end
LONGEST_S = 240.0  # seconds that a run may take to show a process of a kind
BRIEF = {"agent", "forkserver", "rank", "child", "measuring child", "flow run", "what the worker started"}
ENDS_THE_COMMAND = {"supervisor", "warm stage"}  # of which it is a fork, too


def plan() -> list[list[tuple[str, float]]]:
    """Series of (kind, share of its time at which it is killed): every kind once, then as chance wants."""
    draw = random.Random(SEED)
    kinds = list(KINDS)
    kinds += [draw.choice(kinds) for _ in range(KILLS - len(kinds))]
    draw.shuffle(kinds)
    kills = [(kind, draw.random()) for kind in kinds]
    return [kills[at : at + SERIES] for at in range(0, KILLS, SERIES)]


@dataclass
class Scene:
    """A stack whose pipeline has run once, undisturbed."""

    stack: Stack
    seconds: float = 60.0  # that the run took
    weights: str = ""  # SHA-256 hex
    names: int = 0

    def new_work(self) -> str:
        """A pipeline that differs from the others by its name alone."""
        name = f"kills-{self.names}"
        self.names += 1
        self.stack.pipeline(
            name,
            f"prefix: {name}/ -> prefix: kills/",
            "processes: 2 -> processes: 2\n  warm_start: none\n  checkpoint: {every_steps: 20}",
            "    - {kind: non_inferiority, metric: accuracy, margin: 0.03}\n -> ",
        )
        return name

    def kill(self, kind: str, moment: float, command: subprocess.Popen[str]) -> str:
        """At a random moment; returns what it was, or nothing when the run was over before. One that lives for a moment
        only is waited for."""
        began = time.monotonic()
        if kind not in BRIEF:
            wait_for("the moment", lambda: time.monotonic() - began >= moment * self.seconds)
        while time.monotonic() - began < LONGEST_S:
            found = processes_of(self.stack, kind)
            if not found and command.poll() is not None:
                return ""
            if found and kind in BRIEF:
                seen = time.monotonic()
                wait_for("the moment", lambda since=seen: time.monotonic() - since >= moment * 1.5)
                found = processes_of(self.stack, kind)
            if found:
                victim = found[int(moment * len(found))]
                with contextlib.suppress(psutil.NoSuchProcess):
                    victim.kill()
                    return f"{kind} {victim.pid}"
        raise AssertionError(f"no {kind} was seen")


def weights_of(stack: Stack, report: dict[str, Any]) -> str:
    record = find_registration(stack.adapters.store, report["work_key"])
    assert record is not None
    return record.weights_sha256


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A stack of its own: it is taken down again and again."""
    stack = Stack(tmp_path_factory.mktemp("kills"))
    with pytest.MonkeyPatch.context() as patched:
        try:
            stack("up")
            for name, value in stack.environment().items():
                patched.setenv(name, value)
            apply_environment(stack.settings)
            made = Scene(stack)
            name = made.new_work()
            stack("upload", name, "rows.csv")
            began = time.monotonic()
            report = stack.json("run", name)
            assert report["outcome"] == "promoted"
            made.seconds, made.weights = time.monotonic() - began, weights_of(stack, report)
            yield made
        finally:
            stack("down")
            assert marked_processes(STACK_MARK, str(stack.home.resolve())) == []
            assert stack.left_on_disk() == []


@pytest.mark.parametrize("number", range(KILLS // SERIES))
def test_kills_at_random_moments_leave_nothing(scene: Scene, number: int) -> None:
    stack, said, name = scene.stack, [""], scene.new_work()
    left = plan()[number]
    while left:
        kind, moment = left[0]
        command = stack.start("run", name, "--json")
        killed = scene.kill(kind, moment, command)
        left = left[1:] if killed else [(kind, moment / 2), *left[1:]]  # it does not live for that long
        out, err = command.communicate(timeout=600)
        said += [f"{name}: {killed}", f"ended with {command.returncode}: {err.strip().splitlines()[-1:]}"]
        print(*said[-2:], flush=True)
        allowed = {0, 5} if kind not in ENDS_THE_COMMAND else {0, 5, -9, 137}
        assert command.returncode in allowed, f"{said}\n{out}{err}"
        no_secret_is_printed(stack, out + err)
        if kind == "supervisor":
            nothing_of_the_stack_is_left(stack)
            stack("up")
            apply_environment(stack.settings)  # passwords are made anew
        wait_for("the stack to be healthy again", stack.healthy)
        if command.returncode == 0:  # the next kill wants work that is not done
            assert weights_of(stack, json.loads(out)) == scene.weights, said
            stack("stop", name)
            name = scene.new_work()
    stack.json("reconcile")
    report = stack.json("run", name)
    assert (report["outcome"], report["version"]) in (("promoted", 1), ("unchanged", 1)), said
    Invariants(stack).all_hold(name, report)
    assert weights_of(stack, report) == scene.weights, said  # I5
    stack("stop", name)
    nothing_is_left(stack, report["work_key"])


def nothing_of_the_stack_is_left(stack: Stack) -> None:
    """Its guardian has swept it."""
    mark = str(stack.home.resolve())
    wait_for("the whole stack to be gone", lambda: marked_processes(STACK_MARK, mark) == [])
    wait_for("what it left to be gone", lambda: stack.left_on_disk() == [])


def no_secret_is_printed(stack: Stack, said: str) -> None:
    """I7."""
    assert "Traceback" not in said, said
    secrets = [value for value in remembered_credentials(stack.home).values() if len(str(value)) >= 12]
    assert secrets
    assert [value for value in secrets if str(value) in said] == []


def nothing_abandoned() -> bool:
    """Other tests of this machine kill processes, too, whose folders are here until somebody looks."""
    remove_abandoned_folders()
    folders = [folder for folder in temporary_root().glob("ratchet-*") if is_abandoned(folder.name)]
    return not folders and not [file for file in SHARED_MEMORY.glob("sem.ratchet-*") if is_abandoned(file.name[4:])]


def nothing_is_left(stack: Stack, work_key: str) -> None:
    """No process, lease, scratch folder, wait or temporary folder of a run."""
    stack.json("reconcile")
    for kind in sorted(BRIEF):
        wait_for(f"every {kind} to be gone", lambda kind=kind: processes_of(stack, kind) == [])
    assert marked_processes(WORK_MARK, work_key) == []
    store = stack.adapters.store
    assert [info.key for prefix in ("leases/", "waits/", "nodes/") for info in store.list(prefix)] == []
    assert [*(stack.home / "scratch").iterdir()] == []
    wait_for("nothing to be left of whoever was killed", nothing_abandoned)
    worker = stack.home / "tmp" / "worker"
    wait_for("what runs worked in to be old", lambda: all(age_of(entry) > 31 for entry in worker.glob("tmp*prefect")))
    stack.json("reconcile")
    assert [*worker.glob("tmp*prefect")] == []


def age_of(entry: Path) -> float:
    """Seconds; a long time for what is gone."""
    try:
        return time.time() - entry.stat().st_mtime
    except OSError:
        return 1e9
