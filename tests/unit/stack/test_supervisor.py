"""A machine that refuses what the supervisor asks of it (a full disk, no more files) ends nothing."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from mlratchet.infra.settings import Settings
from mlratchet.infra.stack import supervisor
from mlratchet.infra.stack.services import Service
from mlratchet.infra.stack.supervisor import SupervisedService, Supervisor


def service(name: str, folder: Path) -> Service:
    return Service(
        name=name,
        command=(sys.executable, "-c", "import signal; signal.pause()"),
        environment=dict(os.environ),
        directory=folder,
    )


def full(*_args: Any, **_more: Any) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/home/run/services.json")


@pytest.fixture
def watching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    for folder in ("run", "logs", "data"):
        (tmp_path / folder).mkdir()
    both = [service("seaweedfs", tmp_path), service("other", tmp_path)]
    monkeypatch.setattr(supervisor, "services", lambda *_: both)
    monkeypatch.setattr(supervisor, "model_servers", lambda *_: [])
    nowhere: dict[str, Any] = {
        "s3_access_key": "a", "s3_secret_key": "b", "mlflow_tracking_uri": "http://127.0.0.1:1",
        "prefect_api_url": "http://127.0.0.1:1/api", "reconcile_seconds": 3600,
    }  # fmt: skip
    made = Supervisor(Settings(home=tmp_path, **nowhere), tmp_path)
    monkeypatch.setattr(made, "_guard", lambda: None)
    return made


def test_a_full_disk_under_the_home_ends_nothing_and_is_said_once(
    watching: Supervisor, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(supervisor, "write_atomically", full)
        patch.setattr(SupervisedService, "start", full)
        for _ in range(3):
            watching.look()
    said = capfd.readouterr().err
    assert said.count("No space left on device") == 1
    assert not (tmp_path / "run" / "services.json").exists()
    watching.look()  # there is room again
    try:
        assert (tmp_path / "run" / "services.json").exists()
        assert all(kept.process is not None and kept.process.poll() is None for kept in watching._kept.values())
    finally:
        watching._stop()


def test_a_service_starts_without_a_log_where_none_can_be_opened(tmp_path: Path) -> None:
    kept = SupervisedService(service("one", tmp_path), tmp_path / "no" / "such" / "folder")
    kept.start()
    assert kept.process is not None
    try:
        assert kept.process.poll() is None
    finally:
        kept.process.kill()
        kept.process.wait()
