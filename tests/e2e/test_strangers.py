"""Another account of the machine, and who has the password of Prefect or MLflow, each with no right beyond that."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from mlratchet.infra.machine.free_ports import remembered_ports
from mlratchet.infra.machine.processes import STACK_MARK, marked_processes
from mlratchet.infra.stack.access import credentials_of
from mlratchet.infra.storage.opening import open_bucket

from tests.conftest import Stack, wait_for
from tests.e2e.conftest import DeploymentRuns

pytestmark = [pytest.mark.stack, pytest.mark.slow]
NOBODY = 65_534


def services_of(stack: Stack) -> list[psutil.Process]:
    """All processes of the stack but the model servers, which answer strangers."""
    mine = marked_processes(STACK_MARK, str(stack.home.resolve()))
    return [process for process in mine if "mlratchet.infra.serving.server" not in process.cmdline()]


def ask_as_another_account(ports: list[int], sockets: list[str]) -> list[list[Any]]:
    """What it is answered. Without root it is only somebody without a file of ours, whom sockets do not know."""
    root = os.geteuid() == 0
    asked = {"uid": NOBODY if root else None, "ports": ports, "sockets": sockets if root else []}
    done = subprocess.run(
        [sys.executable, "-I", str(Path(__file__).with_name("stranger.py"))], input=json.dumps(asked), env={}, cwd="/",
        stdout=subprocess.PIPE, text=True, check=True, timeout=300,
    )  # fmt: skip
    answers: list[list[Any]] = json.loads(done.stdout)
    return answers


def test_no_port_answers_somebody_without_a_file_of_ours(stack: Stack) -> None:
    """The gateway's `/status` says that it lives, and nothing else."""
    connections = [c for process in services_of(stack) for c in process.net_connections("all")]
    ports = sorted({c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN and c.laddr})
    sockets = sorted({str(c.laddr) for c in connections if isinstance(c.laddr, str) and c.laddr.startswith("/")})
    known = remembered_ports(stack.home)
    assert len(ports) >= 10
    assert {known[name] for name in ("s3", "mlflow", "prefect", "seaweed_filer")} <= {*ports}
    answers = ask_as_another_account(ports, sockets)
    alive = [[known["s3"], "plain", f"{method} /status"] for method in ("GET", "HEAD")]
    assert [answer for answer in answers if answer not in alive] == []
    assert owner_is_answered(stack, known) == [200, 200, 200]


def owner_is_answered(stack: Stack, ports: dict[str, int]) -> list[int]:
    """The same questions with what lies in the home: the filer, Prefect, MLflow."""
    certificate = stack.home / "tls" / "stack.crt"
    context = ssl.create_default_context(cafile=str(certificate))
    context.load_cert_chain(certificate, stack.home / "tls" / "stack.key")
    with httpx.Client(verify=context, timeout=120) as owner:
        filer = owner.get(f"https://127.0.0.1:{ports['seaweed_filer']}/buckets/")
    prefect, mlflow = (
        httpx.get(f"http://127.0.0.1:{ports[name]}{path}", auth=password_of(stack, name), timeout=120)
        for name, path in (("prefect", "/api/health"), ("mlflow", "/health"))
    )
    return [filer.status_code, prefect.status_code, mlflow.status_code]


def password_of(stack: Stack, service: str) -> tuple[str, str]:
    credentials = credentials_of(stack.settings, service)
    assert credentials is not None
    user, _, password = credentials.partition(":")
    return user, password


def test_mlflows_api_runs_no_command_and_reads_no_file(stack: Stack) -> None:
    """The store bucket and the home are not for MLflow; its own bucket is."""
    settings = stack.settings
    own = open_bucket(settings, settings.mlflow_bucket)
    places = {
        "home": stack.home.as_uri(),
        "store": f"s3://{settings.store_bucket}/planted",
        "mlflow": f"s3://{settings.mlflow_bucket}/planted",
    }
    read: dict[str, int] = {}
    with httpx.Client(base_url=settings.mlflow_tracking_uri, auth=password_of(stack, "mlflow"), timeout=120) as client:
        for method, path in (("GET", "providers"), ("PUT", "config"), ("POST", "message")):
            assert client.request(method, f"/ajax-api/3.0/mlflow/assistant/{path}", json={}).status_code == 404
        for name, place in places.items():
            asked = {"name": f"planted-{name}", "artifact_location": place}
            made = client.post("/api/2.0/mlflow/experiments/create", json=asked).raise_for_status().json()
            run = client.post("/api/2.0/mlflow/runs/create", json=made).raise_for_status().json()["run"]["info"]
            key = f"{run['artifact_uri'].partition('planted/')[2]}/stack.env"
            if place.startswith("s3"):
                (own if name == "mlflow" else stack.adapters.store).put(f"planted/{key}", b"secret")
            else:
                folder = Path(run["artifact_uri"].removeprefix("file://"))
                folder.mkdir(parents=True)
                (folder / "stack.env").write_text("secret")
            reply = client.get("/get-artifact", params={"path": "stack.env", "run_uuid": run["run_id"]})
            read[name] = reply.status_code
            assert (b"secret" in reply.content) is (name == "mlflow")
    assert read["mlflow"] == 200
    assert read["home"] >= 400
    assert read["store"] >= 400


def test_prefects_api_runs_no_command(stack: Stack, tmp_path: Path) -> None:
    """A deployment whose every field asks for one; each marker would be left by another of them."""
    planted = tmp_path / "planted.py"
    planted.write_text(
        f"open({str(tmp_path / 'imported')!r}, 'w')\nfrom prefect import flow\n\n@flow\ndef evil(): ...\n"
    )
    hostile = {
        "entrypoint": f"{planted}:evil",
        "path": str(tmp_path),
        "pull_steps": [{"prefect.deployments.steps.run_shell_script": {"script": f"touch {tmp_path / 'pulled'}"}}],
        "job_variables": {
            "command": f"touch {tmp_path / 'commanded'}",
            "working_dir": str(tmp_path),
            "env": {"PREFECT__FLOW_ENTRYPOINT": f"{planted}:evil", "PYTHONPATH": str(tmp_path)},
        },
    }
    api = stack.settings.prefect_api_url
    with httpx.Client(base_url=api, auth=password_of(stack, "prefect"), timeout=120) as client:
        flow = client.post("/flows/", json={"name": "evil"}).raise_for_status().json()["id"]
        pool = f"/work_pools/{stack.settings.work_pool}"
        wait_for("the worker's pool", lambda: client.get(pool).is_success)
        made = {"name": "evil", "flow_id": flow, "work_pool_name": stack.settings.work_pool, **hostile}
        deployment = client.post("/deployments/", json=made).raise_for_status().json()["id"]
        run = {"job_variables": hostile["job_variables"], "state": {"type": "SCHEDULED"}}
        client.post(f"/deployments/{deployment}/create_flow_run", json=run).raise_for_status()
        ended = DeploymentRuns(stack, deployment).ended()
        logs = client.post("/logs/filter", json={"logs": {"flow_run_id": {"any_": [str(ended.id)]}}}).json()
        client.delete(f"/deployments/{deployment}").raise_for_status()
    assert ended.state is not None
    assert ended.state.is_crashed()
    assert [path.name for path in tmp_path.iterdir() if path != planted] == []
    assert "flow 'evil' is none of ours" in " ".join(line["message"] for line in logs)
