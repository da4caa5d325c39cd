"""The stack: idempotent, private, healed after kill -9, stopped whole."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import httpx
import psutil
import pytest
from mlratchet.infra.processes import STACK_MARK, marked_processes
from mlratchet.infra.stack.control import supervisor_pid

from tests.conftest import Stack, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.slow]


def test_up_again_changes_nothing(stack: Stack) -> None:
    before = {name: service.pid for name, service in stack.services().items()}
    stack("up")
    after = {name: service.pid for name, service in stack.services().items()}
    assert {name: after[name] for name in before} == before


def test_credentials_are_for_the_owner_alone_and_listeners_on_loopback(stack: Stack) -> None:
    for name in ("credentials.json", "stack.env", "s3.json"):
        assert stat.S_IMODE((stack.home / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(stack.home.stat().st_mode) == 0o700
    mine = {process.pid for process in marked_processes(STACK_MARK, str(stack.home.resolve()))}
    listening = [c for c in psutil.net_connections("tcp") if c.pid in mine and c.status == psutil.CONN_LISTEN]
    assert len(listening) >= 10
    assert {c.laddr.ip for c in listening} <= {"127.0.0.1", "::1"}


@pytest.mark.parametrize("service", ["seaweedfs", "mlflow", "prefect", "worker"])
def test_a_service_that_is_killed_comes_back_with_its_data(stack: Stack, service: str) -> None:
    stack.adapters.raw.put("kept/across-kills", b"data")
    pid = stack.services()[service].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(
        f"{service} to be healthy with another pid",
        lambda: stack.services()[service].pid not in (None, pid) and stack.healthy(),
    )
    assert stack.adapters.raw.get("kept/across-kills") == b"data"
    assert stack("versions", "no-such-model").stdout.startswith("no versions")
    assert stack.json("reconcile") is not None


def refusals(stack: Stack) -> list[int]:
    """What Prefect and MLflow answer to somebody without a password."""
    settings = stack.settings
    asked = {"max_results": 1}
    return [
        httpx.post(f"{settings.prefect_api_url}/flows/count", json={}).status_code,
        httpx.post(f"{settings.mlflow_tracking_uri}/api/2.0/mlflow/experiments/search", json=asked).status_code,
    ]


def test_a_killed_supervisor_takes_everything_with_it_and_up_starts_again(tmp_path: Path) -> None:
    """With passwords, which are remembered."""
    other = Stack(tmp_path)
    try:
        assert "credentials.json" in other("up", "--auth").stdout
        assert refusals(other) == [401, 401]
        assert "no versions of" in other("versions", "digits").stdout
        assert "`ratchet down` first" in other("up", "--no-auth", code=2).stderr
        other.adapters.raw.put("kept", b"data")
        ports = {name: service.url for name, service in other.services().items()}
        pid = supervisor_pid(other.home)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        mark = str(other.home.resolve())
        wait_for("every process to be gone", lambda: marked_processes(STACK_MARK, mark) == [])
        assert "NOT HEALTHY" in other("status", code=5).stdout
        other("up")
        assert {name: service.url for name, service in other.services().items()} == ports
        assert other.adapters.raw.get("kept") == b"data"
        assert refusals(other) == [401, 401]
        other("down")
        assert marked_processes(STACK_MARK, mark) == []
        other("down")
    finally:
        other("down")
