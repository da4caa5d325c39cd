"""Who may ask: a token with the scope, of which nothing but a digest is kept; predictions to this machine need none."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import json
import logging
import ssl
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from mlratchet.infra.machine.free_ports import find_port
from mlratchet.infra.serving.connections import configured
from mlratchet.infra.serving.local import LocalServers, model_servers
from mlratchet.infra.serving.server import until_one_ends
from mlratchet.infra.serving.token_file import FILE, OWN, TokenFile
from mlratchet.infra.settings import Settings
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.serving.app import ServingApp
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.endpoint import Endpoint
from mlratchet.models.serving.metrics import Metrics
from mlratchet.models.serving.refusal import BadRequestError
from mlratchet.models.serving.slot import Slot
from mlratchet.models.serving.tokens import SCOPES, Access, is_local
from typer.testing import CliRunner

from tests.conftest import wait_for
from tests.unit.serving.conftest import TABLE, sum_of


def scope(*, client: str | None = "10.0.0.9", **headers: str) -> dict[str, Any]:
    told = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {"client": (client, 1) if client else None, "headers": told}


def refused(access: Access, needed: Any, asked: dict[str, Any]) -> int:
    with pytest.raises(BadRequestError) as caught:
        access.check(needed, asked)
    assert caught.value.field == "authorization"
    return caught.value.status


def test_a_token_is_let_in_where_it_has_the_scope_and_nowhere_else(tmp_path: Path) -> None:
    file = TokenFile(tmp_path)
    access = Access(file.tokens)
    text = file.make("shop", ("predict",))
    holder = access.check("predict", scope(authorization=f"Bearer {text}"))
    assert holder is not None
    assert (holder.name, holder.scopes) == ("shop", ("predict",))
    assert refused(access, "feedback", scope(authorization=f"Bearer {text}")) == 403
    other = TokenFile(tmp_path / "other").make("shop", ("predict",))
    wrong = (
        "",
        text,
        f"Basic {text}",
        "Bearer",
        f"Bearer {text[:-1]}",
        f"Bearer {text}x",
        f"Bearer {other}",
        "Bearer é",
    )
    for told in (*wrong, f"Bearer {'x' * 5000}"):
        assert refused(access, "predict", scope(authorization=told)) == 401, told
        assert refused(access, "predict", scope(client="127.0.0.1", authorization=told)) == 401, "a wrong one is told"
    file.revoke("shop")
    assert refused(access, "predict", scope(authorization=f"Bearer {text}")) == 401


def test_what_needs_a_token(tmp_path: Path) -> None:
    access = Access(TokenFile(tmp_path).tokens)
    assert access.check("predict", scope(client="127.0.0.1")) is None
    assert access.check("predict", scope(client="::1")) is None
    for asked in (scope(), scope(client=None), scope(client="127.0.0.1", x_forwarded_for="10.0.0.9")):
        assert not is_local(asked)
        assert refused(access, "predict", asked) == 401
    for needed in ("feedback", "admin"):
        assert refused(access, needed, scope(client="127.0.0.1")) == 401


def test_what_is_kept_says_nothing_and_is_the_owners_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = TokenFile(tmp_path)
    text = file.own()
    assert file.own() == text
    kept = (tmp_path / FILE).read_text()
    _, _, secret = text.split("_", 2)  # which may have such a line in itself
    assert len(secret) >= 32
    assert secret not in kept
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in (FILE, OWN)] == [0o600, 0o600]
    assert [one.scopes for one in file.tokens().values()] == [SCOPES]
    with caplog.at_level(logging.DEBUG):
        refused(Access(file.tokens), "predict", scope(authorization=f"Bearer {text}x"))
        (tmp_path / FILE).write_text("[{]")
        assert file.tokens() == {}
    assert text not in caplog.text
    assert "no token is taken" in caplog.text


def test_over_http(tmp_path: Path) -> None:
    file = TokenFile(tmp_path)
    app = ServingApp(Metrics(), access=Access(file.tokens))
    slot = Slot()
    slot.swap(sum_of(3, TABLE))
    app.take_up(Endpoint("m", slot, ServingConfig(), metrics=app.metrics))
    text = file.make("shop", ("predict",))

    async def statuses(client: str, **headers: str) -> list[int]:
        transport = httpx.ASGITransport(app=app, client=(client, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost/m/", headers=headers) as asking:
            asked = [await asking.post(path, json=[1, 2]) for path in ("predict", "explain")]
            assert all(one.headers["www-authenticate"] == "Bearer" for one in asked if one.status_code == 401)
            return [one.status_code for one in asked] + [
                (await asking.get(path)).status_code for path in ("health", "")
            ]

    async def scenario() -> list[list[int]]:
        found = [
            await statuses("10.0.0.9"),
            await statuses("10.0.0.9", authorization=f"Bearer {text}"),
            await statuses("127.0.0.1"),
        ]
        await app.close()
        return found

    assert asyncio.run(scenario()) == [[401, 401, 200, 200], [200, 200, 200, 200], [200, 200, 200, 200]]


def test_the_command_makes_lists_and_revokes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlratchet.flows.cli.tokens import tokens

    monkeypatch.setenv("RATCHET_HOME", str(tmp_path))
    runner = CliRunner()
    made = runner.invoke(tokens, ["make", "shop", "--scope", "feedback", "--scope", "predict"]).stdout.strip()
    listed = json.loads(runner.invoke(tokens, ["list", "--json"]).stdout)
    assert [(one["name"], one["scopes"]) for one in listed] == [("shop", ["predict", "feedback"])]
    assert made not in json.dumps(listed)
    for bad in (
        ["make", "shop", "--scope", "predict"],
        ["make", "b", "--scope", "root"],
        ["make", "B !", "--scope", "admin"],
    ):
        assert isinstance(runner.invoke(tokens, bad).exception, ConfigurationError)
    assert runner.invoke(tokens, ["revoke", "shop"]).exit_code == 0
    assert isinstance(runner.invoke(tokens, ["revoke", "shop"]).exception, ConfigurationError)
    assert json.loads(runner.invoke(tokens, ["list", "--json"]).stdout) == []


def certificate(folder: Path) -> tuple[Path, Path]:
    """Of this machine, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now,
                                   now + dt.timedelta(days=1)).add_extension(address, critical=False)  # fmt: skip
    files = folder / "server.pem", folder / "server.key"
    files[0].write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, *private))
    return files


def test_tls_is_answered_beside_the_plain_address_of_this_machine(tmp_path: Path) -> None:
    files = certificate(tmp_path)
    slot = Slot()
    slot.swap(sum_of(3, TABLE))
    app = ServingApp(Metrics())
    app.take_up(Endpoint("m", slot, ServingConfig(), metrics=app.metrics))
    first = find_port(set())  # none that the kernel gives to a program which asks for any in the meantime
    ports = [first, find_port({first})]
    servers = [uvicorn.Server(configured(app, host="127.0.0.1", port=ports[0], header_s=lambda: 10.0))]
    servers.append(uvicorn.Server(configured(app, host="127.0.0.1", port=ports[1], header_s=lambda: 10.0, tls=files)))
    thread = threading.Thread(target=lambda: asyncio.run(until_one_ends(servers)), daemon=True)
    thread.start()
    wait_for("both servers", lambda: all(one.started for one in servers) or not thread.is_alive())
    assert thread.is_alive()
    trusted = ssl.create_default_context(cafile=str(files[0]))
    plain = httpx.post(f"http://127.0.0.1:{ports[0]}/m/predict", json=[1, 2], timeout=120)
    secret = httpx.post(f"https://127.0.0.1:{ports[1]}/m/predict", json=[1, 2], verify=trusted, timeout=120)
    assert (plain.status_code, secret.status_code) == (200, 200)
    with pytest.raises(httpx.TransportError):
        httpx.post(f"http://127.0.0.1:{ports[1]}/m/predict", json=[1, 2], timeout=120)
    servers[0].should_exit = True
    thread.join(30)
    assert not thread.is_alive(), "the other goes on"


def test_with_a_certificate_the_plain_address_is_this_machines_alone(tmp_path: Path) -> None:
    LocalServers(tmp_path).request("quote", ServingConfig())

    def settings_of(**more: Any) -> Settings:
        return Settings(
            home=tmp_path, s3_endpoint_url="http://127.0.0.1:1", s3_access_key="owner", s3_secret_key="s",
            mlflow_tracking_uri="http://m", prefect_api_url="http://p", serving_host="0.0.0.0", **more,
        )  # fmt: skip

    tls = {"serving_tls_certificate": tmp_path / "a.pem", "serving_tls_key": tmp_path / "a.key"}
    (service,) = model_servers(settings_of(**tls), tmp_path)
    command = list(service.command)
    assert [command[command.index(name) + 1] for name in ("--host", "--tls-host", "--tls-port")] == [
        "127.0.0.1", "0.0.0.0", "8443",
    ]  # fmt: skip
    assert service.environment["RATCHET_SERVING_TLS_KEY"] == str(tmp_path / "a.key")
    assert service.health.startswith("http://127.0.0.1:")
    LocalServers(tmp_path).request("alone", ServingConfig(process="own"))
    LocalServers(tmp_path).request("shop", ServingConfig(process="own", tls_port=8444))
    found = {one.name: " ".join(one.command) for one in model_servers(settings_of(**tls), tmp_path)}
    assert "--host 127.0.0.1 --tls-host 0.0.0.0 --tls-port 8444" in found["serve-shop"]
    assert "--tls-host" not in found["serve-alone"]
    assert "--tls-port 8443" in found["serve"]
    with pytest.raises(ValueError, match="process: own"):
        ServingConfig(tls_port=8444)
    for name in ("alone", "shop"):
        LocalServers(tmp_path).withdraw(name, "removed")
    (plain,) = model_servers(settings_of(), tmp_path)
    assert "--tls-host" not in plain.command
    with pytest.raises(ConfigurationError, match="set both, or none"):
        model_servers(settings_of(serving_tls_key=tmp_path / "a.key"), tmp_path)
