"""What `ratchet up` writes: for the owner alone, and what an operator added stays."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from mlratchet.infra.machine.free_ports import remembered_ports
from mlratchet.infra.project_path import project_folders
from mlratchet.infra.settings import (
    base_environment,
    basic,
    child_environment,
    find_home,
    load_settings,
    told_to_children,
    without_credentials,
)
from mlratchet.infra.stack.access import credentials_of
from mlratchet.infra.stack.install import has_auth, install, remembered_credentials
from mlratchet.infra.stack.leftovers import clear_leftovers
from mlratchet.infra.stack.services import services
from mlratchet.models.errors import ConfigurationError, SecurityError


def test_identities_that_an_operator_added_stay_and_ours_are_renewed(tmp_path: Path) -> None:
    install(tmp_path, auth=None)
    file = tmp_path / "s3.json"
    made = json.loads(file.read_text())
    theirs = {
        "name": "labeller",
        "credentials": [{"accessKey": "l", "secretKey": "s"}],
        "actions": ["Write:raw/labels"],
    }
    changed = [{**made["identities"][0], "actions": []}, *made["identities"][1:], theirs]
    file.write_text(json.dumps({"identities": changed}))
    install(tmp_path, auth=None)
    assert json.loads(file.read_text())["identities"] == [*made["identities"], theirs]


@pytest.mark.parametrize("held", ["{", "[]", '{"identities": [{}]}', '{"identities": {"a": 1}}', '{"identities": [1]}'])
def test_identities_that_cannot_be_read_are_not_written_over(tmp_path: Path, held: str) -> None:
    install(tmp_path, auth=None)
    file = tmp_path / "s3.json"
    file.write_text(held)
    with pytest.raises(ConfigurationError, match="identities cannot be read"):
        install(tmp_path, auth=None)
    assert file.read_text() == held


def test_everything_secret_is_for_the_owner_alone(tmp_path: Path) -> None:
    install(tmp_path, auth=None)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    kept = ["credentials.json", "s3.json", "security.toml", "tls/stack.key", "tls/stack.crt"]
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("stack.env", *kept)} == {0o600}
    before = {name: (tmp_path / name).read_text() for name in kept}
    install(tmp_path, auth=None)
    assert {name: (tmp_path / name).read_text() for name in kept} == before


def test_every_start_has_its_own_passwords(tmp_path: Path) -> None:
    seen = set()
    for _ in range(3):
        install(tmp_path, auth=None)
        seen |= {credentials_of(load_settings(tmp_path), service) for service in ("prefect", "mlflow")}
    assert len(seen) == 6


def test_passwords_are_asked_for_until_somebody_says_otherwise(tmp_path: Path) -> None:
    for said, locked in ((None, True), (False, False), (None, False), (True, True), (None, True)):
        install(tmp_path, auth=said)
        assert has_auth(tmp_path) is locked
        settings = load_settings(tmp_path)
        assert (credentials_of(settings, "prefect") is not None) is locked
        told = child_environment(settings)
        assert ("PREFECT_API_AUTH_STRING" in told) is locked
        assert ("PREFECT_CLIENT_CUSTOM_HEADERS" in told) is locked  # for the WebSockets that the other is not sent with


def test_a_stack_of_before_without_passwords_gets_them(tmp_path: Path) -> None:
    install(tmp_path, auth=False)
    file = tmp_path / "stack.env"
    file.write_text(file.read_text().replace("RATCHET_NO_AUTH=true\n", ""))
    install(tmp_path, auth=None)
    assert has_auth(tmp_path)


def test_no_secret_is_an_argument(tmp_path: Path) -> None:
    install(tmp_path, auth=None)
    settings = load_settings(tmp_path)
    words = " ".join(word for service in services(settings, tmp_path) for word in service.command)
    secrets = [*json.loads((tmp_path / "credentials.json").read_text()).values()]
    for service in ("prefect", "mlflow"):
        credentials = credentials_of(settings, service)
        assert credentials is not None
        secrets.append(credentials.partition(":")[2])
    assert [secret for secret in secrets if secret in words] == []


def test_no_password_is_told_to_who_asks_nobody_for_anything(tmp_path: Path) -> None:
    """By value: a variable's name need not say what it holds."""
    install(tmp_path, auth=None)
    settings = load_settings(tmp_path)
    auth = credentials_of(settings, "prefect")
    assert auth is not None
    held = {basic(auth), auth, *(word for word in json.loads((tmp_path / "credentials.json").read_text()).values())}
    told = child_environment(settings)
    assert [name for name, value in told.items() if any(word in value for word in held)] != []
    for less in (without_credentials(told), told_to_children(told)):
        assert [name for name, value in less.items() if any(word in value for word in held)] == []


def test_a_home_of_another_account_is_not_found_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = tmp_path / "project" / "below"
    below.mkdir(parents=True)
    planted = tmp_path / ".ratchet"
    planted.mkdir()
    monkeypatch.delenv("RATCHET_HOME", raising=False)
    monkeypatch.chdir(below)
    assert find_home() == planted
    monkeypatch.setattr(os, "getuid", lambda: planted.stat().st_uid + 1)
    with pytest.raises(SecurityError, match="belongs to user"):
        find_home()
    monkeypatch.setenv("RATCHET_HOME", str(planted))
    assert find_home() == planted


def test_no_service_starts_with_the_project_on_its_import_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sitecustomize.py` of a folder in PYTHONPATH runs at the start of an interpreter, `-m` looks where it starts."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "sitecustomize.py").write_text("open(__file__ + '.ran', 'w').close()")
    (project / "psutil.py").write_text("open(__file__ + '.ran', 'w').close()")
    monkeypatch.setenv("PYTHONPATH", str(project))
    install(tmp_path / "home", auth=False)
    settings = load_settings(tmp_path / "home")
    ours = [one for one in services(settings, project) if one.command[0] == sys.executable]
    assert {one.name for one in ours} == {"mlflow", "prefect", "worker", "warm", "log-writer"}
    for service in ours:
        assert service.command[:3] == (sys.executable, "-P", "-m")
        told = [] if service.name == "log-writer" else [str(project)]  # it runs no code of a user's
        assert project_folders(service.environment) == told
        look = [*service.command[:2], "-c", "import psutil"]
        subprocess.run(look, env=service.environment, cwd=project, check=True)
    assert [file.name for file in project.glob("*.ran")] == []


@pytest.mark.parametrize("held", ["", "{", "[]", '{"s3": "x", "s3_access_key": 7}', '{"s3": 70000}'])
def test_a_file_of_ours_that_was_damaged_is_named_and_what_runs_can_be_ended(tmp_path: Path, held: str) -> None:
    """As a full disk, or an editor, leaves one."""
    for name, ask in (("ports.json", remembered_ports), ("credentials.json", remembered_credentials)):
        home = tmp_path / name
        home.mkdir()
        (home / name).write_text(held)
        with pytest.raises(ConfigurationError, match=rf"{name}: is not what `ratchet up` wrote .* remove it to "):
            ask(home)
        assert (home / name).read_text() == held
        assert clear_leftovers(home) == 0


@pytest.mark.parametrize("named", ["http_proxy", "HTTPS_PROXY", "ALL_PROXY"])
def test_no_proxy_stands_before_the_stacks_own_services(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    """A company's proxy does not reach this machine, and would be told every password."""
    install(tmp_path, auth=None)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    settings = load_settings(tmp_path)
    assert "no_proxy" not in child_environment(settings)
    monkeypatch.setenv(named, "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "intern.example")
    told = [child_environment(settings), base_environment()]
    told += [one.environment for one in services(settings, tmp_path) if one.name in ("worker", "prefect", "mlflow")]
    for environment in told:
        monkeypatch.setenv("no_proxy", environment["no_proxy"])
        assert environment["no_proxy"] == environment["NO_PROXY"] == "intern.example,127.0.0.1,localhost,::1"
        for asked in (settings.s3_endpoint_url, settings.prefect_api_url, settings.mlflow_tracking_uri):
            assert urllib.request.proxy_bypass(urllib.parse.urlsplit(str(asked)).netloc)
        monkeypatch.delenv("no_proxy")
