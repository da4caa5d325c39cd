"""Two installations on one machine train the same work: neither touches a process of the other."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlratchet.infra.launch import attempt, local
from mlratchet.infra.launch.attempt import Room, start_agent
from mlratchet.infra.launch.local import LocalLauncher
from mlratchet.infra.machine.processes import WORK_MARK, marked_processes
from mlratchet.infra.settings import Settings
from mlratchet.models.config import WorkloadRef
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.job import Rendezvous, TrainJob
from pydantic import SecretStr

KEY = f"the-same-work-in-two-homes-of-{os.getpid()}"  # another session of tests has its own
SLEEPER = "import time; print('up', flush=True); time.sleep(600)"
Begin = Callable[[Path], "subprocess.Popen[bytes]"]


def settings_of(home: Path) -> Settings:
    return Settings(
        _env_file=None, home=home, s3_access_key=SecretStr("a"), s3_secret_key=SecretStr("b"),
        mlflow_tracking_uri="http://127.0.0.1:1", prefect_api_url="http://127.0.0.1:1/api",
    )  # fmt: skip


def job_in(home: Path) -> TrainJob:
    return TrainJob(
        work_key=KEY, epoch=1, dataset_id="d", workload=WorkloadRef(use="a.b:C"), train=TrainConfig(), processes=1,
        scratch=str(home / "scratch"), rendezvous=Rendezvous(endpoint="/tmp/agents", run_id="r"),
    )  # fmt: skip


@pytest.fixture
def begin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    """An attempt at the work in a home, with the environment of a real one."""
    begun: list[subprocess.Popen[bytes]] = []

    def sleep(*_asked: object, environment: dict[str, str], **_more: object) -> subprocess.Popen[bytes]:
        begun.append(subprocess.Popen([sys.executable, "-c", SLEEPER], env=environment, stdout=subprocess.PIPE))
        return begun[-1]

    monkeypatch.setattr(attempt, "start_agent_of_ranks", sleep)

    def one(home: Path) -> subprocess.Popen[bytes]:
        home.mkdir()
        ours, theirs = socket.socketpair()
        with ours, theirs, Room() as room:
            start_agent(job_in(home), settings_of(home), room, theirs)
        assert begun[-1].stdout is not None
        assert begun[-1].stdout.readline() == b"up\n"
        return begun[-1]

    yield one
    for process in begun:
        process.kill()
        process.communicate()


class Swept(Exception):
    """The launcher has swept, and would now start."""


def test_an_attempt_sweeps_what_was_left_of_its_own_home_and_nothing_of_another_home(
    begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, theirs = begin(tmp_path / "mine"), begin(tmp_path / "theirs")
    assert len(marked_processes(WORK_MARK, KEY)) == 2

    def stop(*_: Any) -> None:
        raise Swept

    monkeypatch.setattr(local, "load_settings", settings_of)
    monkeypatch.setattr(local, "signing_store", stop)
    with pytest.raises(Swept):
        LocalLauncher(tmp_path / "mine").train(job_in(tmp_path / "mine"), on_event=lambda _event: None)
    assert [process.pid for process in marked_processes(WORK_MARK, KEY)] == [theirs.pid], f"left over was {left.pid}"
