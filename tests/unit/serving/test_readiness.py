"""A server that lives and serves nothing is not healthy: status and doctor say why, and exit with 5."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from mlratchet.flows.cli import stack as commands
from mlratchet.infra.serving.client import reason_of
from mlratchet.infra.serving.local import LocalServers, model_servers
from mlratchet.infra.stack import control, services
from mlratchet.infra.stack.control import status
from mlratchet.infra.stack.services import Service
from mlratchet.models.serving.config import ServingConfig
from typer.testing import CliRunner

from tests.unit.serving.test_server import settings_of


def answering(monkeypatch: pytest.MonkeyPatch, replies: dict[str, httpx.Response]) -> None:
    transport = httpx.MockTransport(lambda request: replies[request.url.path])
    monkeypatch.setattr(services, "client", lambda: httpx.Client(transport=transport))


def service(tmp_path: Path) -> Service:
    LocalServers(tmp_path).request("quote", ServingConfig())
    return model_servers(settings_of(tmp_path), tmp_path)[0]


@pytest.mark.parametrize(
    ("ready", "why"),
    [
        (httpx.Response(200, json={"ready": True, "version": 3}), ""),
        (httpx.Response(503, json={"ready": False, "reason": "CONFIG: one row"}), "answers 503: CONFIG: one row"),
        (httpx.Response(500, text="broken"), "answers 500: broken"),
    ],
)
def test_a_model_server_is_asked_whether_it_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ready: httpx.Response, why: str
) -> None:
    answering(monkeypatch, {"/health": httpx.Response(200, json={}), "/ready": ready})
    one = service(tmp_path)
    assert one.is_healthy()  # alive: `ratchet up` waits for no champion
    assert one.unready().endswith(why)
    assert bool(one.unready()) == bool(why)


def stack_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **more: Any) -> Path:
    state = {"name": "serve-quote", "pid": 1, "url": "http://u", "healthy": True, "log": "l", **more}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "services.json").write_text(json.dumps([state]))
    monkeypatch.setattr(control, "supervisor_pid", lambda _: 1)
    monkeypatch.setenv("RATCHET_HOME", str(tmp_path))
    return tmp_path


def test_status_and_doctor_say_that_a_server_is_not_ready_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = stack_with(tmp_path, monkeypatch, unready="http://u/ready answers 503: SECURITY: changed")
    import typer

    app = typer.Typer()
    commands.register(app)
    told = CliRunner().invoke(app, ["status"])
    assert told.exit_code == 5
    assert "serve-quote  NOT READY" in told.stdout
    assert "SECURITY: changed" in told.stdout
    (found,) = json.loads(CliRunner().invoke(app, ["status", "--json"]).stdout)
    assert (found["healthy"], found["unready"][-17:]) == (True, "SECURITY: changed")
    assert not status(home)[0].works
    examined = CliRunner().invoke(app, ["doctor"])
    assert "BAD serve-quote: not ready: http://u/ready answers 503: SECURITY: changed" in examined.stdout
    assert examined.exit_code == 5


def test_a_server_that_serves_is_healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (one,) = status(stack_with(tmp_path, monkeypatch))  # as a supervisor of before wrote it
    assert (one.works, one.words) == (True, "healthy")


def test_an_older_champion_that_serves_on_says_what_it_is_behind() -> None:
    assert reason_of(httpx.Response(200, json={"ready": True, "version": 3, "behind": "SECURITY: x"})) == "SECURITY: x"
