"""Model servers of the embedded stack: asked for by a file, started by the supervisor."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mlratchet.infra.machine.atomic import write_atomically
from mlratchet.infra.machine.free_ports import port_of, remembered_ports
from mlratchet.infra.machine.processes import STACK_MARK
from mlratchet.infra.settings import Settings, server_environment
from mlratchet.infra.stack.services import Service
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.servers import Withdrawn


class LocalServers:
    """Servers that the supervisor of this home keeps running."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def _file(self, pipeline: str) -> Path:
        return self._home / "serving" / f"{pipeline}.json"

    def request(self, pipeline: str, serving: ServingConfig) -> None:
        """Ask for a server of the pipeline. Idempotent; another configuration replaces the one before."""
        file = self._file(pipeline)
        file.parent.mkdir(parents=True, exist_ok=True)
        self.resume(pipeline)
        text = json.dumps({"pipeline": pipeline, "serving": serving.model_dump(mode="json")}, sort_keys=True)
        if file.is_file() and file.read_text() == text:
            return
        write_atomically(file, text)

    def _mark(self, pipeline: str) -> Path:
        return self._home / "serving" / f"{pipeline}.withdrawn"

    def withdraw(self, pipeline: str, how: Withdrawn) -> None:
        """End the server, and remember that a person wanted it so: nothing but `request` or `resume` undoes it.
        Idempotent."""
        mark = self._mark(pipeline)
        mark.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(mark, how)
        self._file(pipeline).unlink(missing_ok=True)  # the supervisor ends what nobody asks for

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
        """Whether one was asked for."""
        return self._file(pipeline).is_file()

    def url(self, pipeline: str) -> str | None:
        """Where it answers, or None when none was asked for or it has no address yet."""
        if not self.requested(pipeline):
            return None
        port = remembered_ports(self._home).get(f"serve-{pipeline}")
        return f"http://127.0.0.1:{port}/{pipeline}" if port else None


def model_servers(settings: Settings, project: Path) -> list[Service]:
    """A service per request file."""
    home = settings.home
    found = []
    for file in sorted((home / "serving").glob("*.json")):
        wanted = json.loads(file.read_text())
        name = str(wanted["pipeline"])
        url = f"http://{settings.serving_host}:{port_of(home, f'serve-{name}')}"
        environment = server_environment(settings) | {STACK_MARK: str(home)}
        found.append(
            Service(
                name=f"serve-{name}",
                command=(
                    sys.executable,
                    "-P",
                    "-m",
                    "mlratchet.infra.serving.server",
                    "--pipeline",
                    name,
                    "--port",
                    url.rsplit(":", 1)[1],
                    "--host",
                    settings.serving_host,
                    "--serving",
                    json.dumps(wanted["serving"]),
                ),
                environment=environment,
                directory=project,
                url=f"{url}/{name}",
                health=f"{url}/health",
                ready=f"{url}/ready",
            )
        )
    return found
