"""The stack: idempotent, private, healed after kill -9, stopped whole."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import httpx
import psutil
import pytest
from mlratchet.infra.machine.processes import STACK_MARK, marked_processes
from mlratchet.infra.settings import child_environment
from mlratchet.infra.stack.control import supervisor_pid
from mlratchet.models.pipeline.store import deployed_revisions

from tests.conftest import Stack, wait_for
from tests.faults.promotions import Scene

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


@pytest.mark.parametrize("service", ["seaweedfs", "mlflow", "prefect", "worker", "warm"])
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
    assert "no pipeline 'no-such-model'" in stack("versions", "no-such-model", code=2).stderr
    assert stack.json("reconcile") is not None


def refusals(stack: Stack, **headers: str) -> list[int]:
    """What Prefect and MLflow answer to somebody without a password."""
    prefect, mlflow = stack.settings.prefect_api_url, stack.settings.mlflow_tracking_uri
    search = f"{mlflow}/api/2.0/mlflow/experiments/search"
    return [
        httpx.post(f"{prefect}/flows/count", json={}, headers=headers, timeout=120).status_code,
        httpx.post(search, json={"max_results": 1}, headers=headers, timeout=120).status_code,
    ]


def promoted_versions(stack: Stack, name: str) -> Scene:
    """Versions 1, 3 and 4 in the stack's own bucket, the last two of them champions; 2 was never recorded."""
    adapters = stack.adapters
    run_id = adapters.tracker.open_run(name, work_key=name, flow_run="f", name="n", tags={})
    scene = Scene(name, adapters.store, adapters.registry, run_id, keys=adapters.keys)
    scene.register(1)
    adapters.registry.create_version(
        name, work_key="never-recorded", run_id=run_id, source_uri="s3://b/p", model_id=None, description="", tags={}
    )
    second, third = scene.register(2)
    scene.promote(second, 0)
    scene.promote(third, 1)
    scene.reconcile()
    return scene


def rebuilt(stack: Stack, scene: Scene) -> None:
    """Everything is back under its own number, and a second rebuild finds nothing to do."""
    assert stack("versions", scene.name).stdout.startswith("no versions")
    lines = stack.json("reconcile", "--rebuild")
    assert [line for line in lines if "restored from registrations/" in line] != []
    shown = {v["version"]: v for v in stack.json("versions", scene.name)}
    assert {version: set(v["aliases"]) for version, v in shown.items()} == {
        1: set(),
        3: {"previous"},
        4: {"champion", "candidate"},
    }
    for record in scene.records:
        assert shown[record.version]["work_key"] == record.work_key
    with stack.prefect() as client:
        deployment = client.read_deployment_by_name("retrain/two-layers")
    assert deployment.parameters["pipeline"] == "two-layers"
    assert deployed_revisions(stack.adapters.store)["two-layers"][:12] in (deployment.description or "")
    again = stack.json("reconcile", "--rebuild")
    assert [line for line in again if "deployed" not in line] == []


def test_a_killed_supervisor_takes_everything_with_it_and_lost_databases_are_rebuilt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow and Prefect lose everything; S3 does not. Passwords are asked for until somebody says otherwise, aloud."""
    other = Stack(tmp_path)
    try:
        assert "ratchet open" in other("up").stdout
        assert refusals(other) == [401, 401]
        assert "no versions of" in other("versions", "digits").stdout
        assert "`ratchet down` first" in other("up", "--no-auth", code=2).stderr
        other.adapters.raw.put("kept", b"data")
        for key, value in child_environment(other.settings).items():
            if key.startswith("MLFLOW_TRACKING_"):
                monkeypatch.setenv(key, value)
        scene = promoted_versions(other, "lost")
        other("deploy", "two-layers")
        ports = {name: service.url for name, service in other.services().items()}
        pid = supervisor_pid(other.home)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        mark = str(other.home.resolve())
        wait_for("every process to be gone", lambda: marked_processes(STACK_MARK, mark) == [])
        wait_for("what they left on the disk to be gone", lambda: other.left_on_disk() == [])
        assert "NOT HEALTHY" in other("status", code=5).stdout
        for database in (other.home / "data").glob("*.db*"):
            database.unlink()
        assert "NO PASSWORDS" in other("up", "--no-auth").stderr
        assert "NO PASSWORDS" in other("up").stderr
        assert {name: service.url for name, service in other.services().items()} == ports
        assert other.adapters.raw.get("kept") == b"data"
        assert refusals(other) == [200, 200]
        assert refusals(other, origin="http://evil.example") == [403, 403]
        assert refusals(other, host="evil.example") == [421, 421]
        for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
            monkeypatch.delenv(name)
        rebuilt(other, scene)
        other("down")
        assert marked_processes(STACK_MARK, mark) == []
        other("down")
    finally:
        other("down")
