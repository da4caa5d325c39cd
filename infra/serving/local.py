"""Model servers of the embedded stack: asked for by a file per pipeline, started by the supervisor."""

from __future__ import annotations

import sys
from pathlib import Path

from mlratchet.infra.machine.atomic import write_atomically
from mlratchet.infra.machine.free_ports import port_of, remembered_ports
from mlratchet.infra.machine.processes import STACK_MARK
from mlratchet.infra.service_environments import server_environment
from mlratchet.infra.serving.requests import SHARED, ServingRequest, ServingRequests
from mlratchet.infra.settings import Settings
from mlratchet.infra.stack.services import Service
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.servers import Withdrawn


class LocalServers:
    """Servers that the supervisor of this home keeps running: one for all pipelines, and one for each that wants it."""

    def __init__(self, home: Path) -> None:
        self._home, self._requests = home, ServingRequests(home)

    def request(self, pipeline: str, serving: ServingConfig) -> None:
        """Ask that the pipeline be served. Idempotent; another configuration replaces the one before."""
        self.resume(pipeline)
        self._requests.write(ServingRequest(pipeline=pipeline, config=serving))

    def _mark(self, pipeline: str) -> Path:
        return self._home / "serving" / f"{pipeline}.withdrawn"

    def withdraw(self, pipeline: str, how: Withdrawn) -> None:
        """Serve it no more, and remember that a person wanted it so: nothing but `request` or `resume` undoes it.
        Idempotent."""
        mark = self._mark(pipeline)
        mark.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(mark, how)
        self._requests.file(pipeline).unlink(missing_ok=True)  # who serves drops what nobody asks for

    def withdrawn(self, pipeline: str) -> Withdrawn | None:
        """Whether a person took it out of service."""
        try:
            said = self._mark(pipeline).read_text()
        except OSError:
            return None
        return "removed" if said == "removed" else "stopped"

    def out_of_service(self) -> dict[str, Withdrawn]:
        """Every pipeline that a person took out of service."""
        names = sorted(mark.stem for mark in (self._home / "serving").glob("*.withdrawn"))
        return {name: how for name in names if (how := self.withdrawn(name)) is not None}

    def resume(self, pipeline: str) -> None:
        """Forget that it was withdrawn. Idempotent."""
        self._mark(pipeline).unlink(missing_ok=True)

    def requested(self, pipeline: str) -> bool:
        """Whether it is to be served."""
        return self._requests.file(pipeline).is_file()

    def process(self, pipeline: str) -> str | None:
        """The service that serves it, or None when nobody is asked to."""
        request = self._requests.read(pipeline)
        return request.process if request is not None else None

    def url(self, pipeline: str) -> str | None:
        """Where it answers, or None when nobody is asked to serve it or its server has no address yet."""
        process = self.process(pipeline)
        port = remembered_ports(self._home).get(process) if process is not None else None
        return f"http://127.0.0.1:{port}/{pipeline}" if port else None


def model_servers(settings: Settings, project: Path) -> list[Service]:
    """A service per process that has something to serve. Pipelines come and go without another command of it."""
    home = settings.home
    environment = server_environment(settings) | {STACK_MARK: str(home)}
    tls_ports = {
        request.process: settings.serving_tls_port if request.process == SHARED else request.config.tls_port
        for request in ServingRequests(home)
    }
    with_tls = settings.serving_tls_certificate is not None
    host = "127.0.0.1" if with_tls else settings.serving_host

    def tls(name: str) -> tuple[str, ...]:
        at = tls_ports[name] if with_tls else None
        return ("--tls-host", settings.serving_host, "--tls-port", str(at)) if at is not None else ()

    return [_service(name, host, port_of(home, name), environment, project, tls(name)) for name in sorted(tls_ports)]


def _service(
    name: str, host: str, port: int, environment: dict[str, str], project: Path, tls: tuple[str, ...]
) -> Service:
    url, module = f"http://{host}:{port}", "mlratchet.infra.serving.server"
    return Service(
        name=name,
        command=(sys.executable, "-P", "-m", module, "--service", name, "--port", str(port), "--host", host, *tls),
        environment=environment,
        directory=project,
        url=url,
        health=f"{url}/health",
        ready=f"{url}/ready",
    )
