"""What each service of the embedded stack runs, and how its health is asked."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import httpx
from mlratchet.infra.machine.free_ports import remembered_ports
from mlratchet.infra.machine.processes import GRACE_S, STACK_MARK
from mlratchet.infra.project_path import without_users_path
from mlratchet.infra.service_environments import log_environment
from mlratchet.infra.serving.client import reason_of
from mlratchet.infra.settings import (
    Settings,
    base_environment,
    basic,
    child_environment,
    without_credentials,
    without_private_keys,
)
from mlratchet.infra.stack.access import credentials_of
from mlratchet.infra.stack.install import remembered_credentials
from mlratchet.infra.warm.tree import PADDING, ROOM, ROOM_BYTES


@dataclass(frozen=True, kw_only=True)
class Service:
    """One process to keep alive."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str]
    directory: Path
    url: str | None = None  # for people
    health: str | None = None  # answers below 500 when healthy; None: being alive is enough
    ready: str | None = None  # answers 200 when it does its work, else why not; None: being healthy is enough
    credentials: str | None = None  # user:password that it asks for
    after: tuple[str, ...] = ()  # healthy before this one starts
    owns_group: bool = True  # what it started ends when it dies; not so the runs of a worker
    grace_s: float = GRACE_S  # seconds between SIGTERM and SIGKILL

    def is_healthy(self, timeout_s: float = 2.0) -> bool:
        """Ask the service."""
        if self.health is None:
            return True
        try:
            headers = {"Authorization": basic(self.credentials)} if self.credentials else {}
            return client().get(self.health, headers=headers, timeout=timeout_s).status_code < 500
        except httpx.HTTPError:
            return False

    def unready(self, timeout_s: float = 2.0) -> str:
        """Why it does not do its work though it is healthy; "" when it does."""
        if self.ready is None:
            return ""
        try:
            reply = client().get(self.ready, timeout=timeout_s)
        except httpx.HTTPError as error:
            return f"{self.ready}: {error}"
        return "" if reply.status_code == 200 else f"{self.ready} answers {reply.status_code}: {reason_of(reply)}"


@cache
def client() -> httpx.Client:
    """One for all questions: to make one takes 25 ms of CPU, and every service is asked every other second. Nothing is
    kept open, so that a service which was restarted is asked anew; and no proxy stands before our own machine."""
    return httpx.Client(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))


def script(name: str) -> str:
    """The command of a package of this environment."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"{name} is not installed beside {sys.executable}")
    return found


def services(settings: Settings, project: Path) -> list[Service]:
    """S3, MLflow, Prefect, a worker, and the process that its runs are forks of."""
    ports = remembered_ports(settings.home)
    environment = base_environment() | child_environment(settings) | {STACK_MARK: str(settings.home)}
    environment = without_users_path(environment, str(project))
    public = without_private_keys(environment)
    return [
        seaweedfs(settings, ports, public),
        mlflow(settings, ports, public),
        prefect(settings, ports, public),
        worker(settings, project, environment),
        warm(settings, public),
        log_writer(settings),
    ]


def seaweedfs(settings: Settings, ports: dict[str, int], environment: dict[str, str]) -> Service:
    """The S3 server: master, volume, filer and gateway in one process. It finds `security.toml` in its folder."""
    home = settings.home
    return Service(
        name="seaweedfs",
        command=(
            script("weed"),
            "-logtostderr=true",
            "server",
            f"-dir={home / 'data' / 'seaweedfs'}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-filer",
            "-s3",
            f"-s3.port={ports['s3']}",
            f"-s3.config={home / 's3.json'}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.iam=false",
            f"-s3.allowedOrigins={settings.s3_endpoint_url}",
            "-s3.localSocket=run/s3.sock",  # not in /tmp; relative, as the path of a socket may not be long
            "-filer.localSocket=run/filer.sock",
            "-master.volumeSizeLimitMB=1024",
            f"-master.port={ports['seaweed_master']}",
            "-master.electionTimeout=1s",  # it is the only candidate, and 10 s pass without this on every restart
            "-master.telemetry=false",
            f"-volume.port={ports['seaweed_volume']}",
            f"-filer.port={ports['seaweed_filer']}",
            "-volume.max=100",
        ),
        environment=environment | {"GOMEMLIMIT": "512MiB"},
        directory=home,
        url=settings.s3_endpoint_url,
        health=f"{settings.s3_endpoint_url}/status",
        grace_s=1.0,  # master and volumes stop at once; the filer never does by itself
    )


def mlflow(settings: Settings, ports: dict[str, int], environment: dict[str, str]) -> Service:
    """Tracking and registry on SQLite; artifacts go to S3 without it."""
    url = f"http://127.0.0.1:{ports['mlflow']}"
    own = {name: value for name, value in environment.items() if not name.startswith("PREFECT_")}
    if settings.s3_endpoint_url == f"http://127.0.0.1:{ports['s3']}":
        held = remembered_credentials(settings.home)
        own |= {
            "AWS_ACCESS_KEY_ID": held["s3_mlflow_access_key"],
            "AWS_SECRET_ACCESS_KEY": held["s3_mlflow_secret_key"],
        }
    return Service(
        name="mlflow",
        command=(
            sys.executable,
            "-P",
            "-m",
            "mlratchet.infra.stack.mlflow_server",
            str(settings.home),
            "server",
            "--host=127.0.0.1",
            f"--port={ports['mlflow']}",
            "--workers=1",
            f"--backend-store-uri=sqlite:///{settings.home / 'data' / 'mlflow.db'}",
            f"--default-artifact-root=s3://{settings.mlflow_bucket}/",
            "--no-serve-artifacts",
            f"--allowed-hosts=127.0.0.1:{ports['mlflow']}",
            f"--cors-allowed-origins={url}",
        ),
        environment=own,
        directory=settings.home,
        url=url,
        health=f"{url}/health",
        credentials=credentials_of(settings, "mlflow"),
    )


def prefect(settings: Settings, ports: dict[str, int], environment: dict[str, str]) -> Service:
    """The orchestrator on SQLite."""
    url = f"http://127.0.0.1:{ports['prefect']}"
    own = {name: value for name, value in environment.items() if not name.startswith(("AWS_", "MLFLOW_"))} | {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{settings.home / 'data' / 'prefect.db'}",
        "PREFECT_UI_API_URL": f"{url}/api",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": url,
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    }
    return Service(
        name="prefect",
        command=(
            sys.executable,
            "-P",
            "-m",
            "mlratchet.infra.stack.prefect_server",
            str(settings.home),
            "server",
            "start",
            "--host=127.0.0.1",
            f"--port={ports['prefect']}",
        ),
        environment=own,
        directory=settings.home,
        url=url,
        health=f"{url}/api/health",
        credentials=credentials_of(settings, "prefect"),
    )


def worker(settings: Settings, project: Path, environment: dict[str, str]) -> Service:
    """Starts a process per flow run, in the folder where `ratchet up` was run."""
    return Service(
        name="worker",
        command=(
            sys.executable,
            "-P",
            "-m",
            "mlratchet.infra.stack.prefect_worker",
            str(settings.home),
            "worker",
            "start",
            f"--pool={settings.work_pool}",
            "--type=process",
            "--name=local",
            f"--limit={settings.worker_limit}",
        ),
        environment=environment | {"PREFECT_WORKER_QUERY_SECONDS": "1"},
        directory=project,
        after=("prefect",),
        owns_group=False,
    )


def log_writer(settings: Settings) -> Service:
    """Writes the inference log of every server. It has a key and an S3 identity of its own, and no other credential."""
    return Service(
        name="log-writer",
        command=(sys.executable, "-P", "-m", "mlratchet.infra.inference_log.process"),
        environment=log_environment(settings) | {STACK_MARK: str(settings.home)},
        directory=settings.home / "run",
        grace_s=15.0,  # what waits becomes files, and is uploaded
    )


def warm(settings: Settings, environment: dict[str, str]) -> Service:
    """Forked per flow run, agent, measurement and child, and told no credential. It imports when the others are up, and
    nothing from the user's folder: a fork does, with the environment of whoever asked for it."""
    own = without_credentials(environment)
    return Service(
        name="warm",
        command=(sys.executable, "-P", "-m", "mlratchet.infra.warm.tree", str(settings.home), PADDING),
        environment=own | {ROOM: "-" * ROOM_BYTES},
        directory=settings.home / "run",
        after=("seaweedfs", "mlflow", "prefect"),
    )
