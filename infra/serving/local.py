"""Model servers of the embedded stack: asked for by a file, started by the supervisor."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from mlratchet.infra.machine.free_ports import port_of, remembered_ports
from mlratchet.infra.machine.processes import STACK_MARK
from mlratchet.infra.settings import Settings, base_environment, child_environment, without_private_keys
from mlratchet.infra.stack.services import Service


def request_server(home: Path, pipeline: str, serving: dict[str, Any]) -> None:
    """Ask for a server of the pipeline. Idempotent."""
    folder = home / "serving"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{pipeline}.json"
    text = json.dumps({"pipeline": pipeline, "serving": serving}, sort_keys=True)
    if file.is_file() and file.read_text() == text:
        return
    part = folder / f"{pipeline}.json.part"
    part.write_text(text)
    part.replace(file)


def server_url(home: Path, pipeline: str) -> str | None:
    """Where the pipeline's server answers, or None when none was asked for."""
    if not (home / "serving" / f"{pipeline}.json").is_file():
        return None
    port = remembered_ports(home).get(f"serve-{pipeline}")
    return f"http://127.0.0.1:{port}" if port else None


def model_servers(settings: Settings, project: Path) -> list[Service]:
    """A service per request file."""
    home = settings.home
    found = []
    for file in sorted((home / "serving").glob("*.json")):
        wanted = json.loads(file.read_text())
        name = str(wanted["pipeline"])
        url = f"http://{settings.serving_host}:{port_of(home, f'serve-{name}')}"
        environment = without_private_keys(base_environment()) | child_environment(settings) | {STACK_MARK: str(home)}
        found.append(
            Service(
                name=f"serve-{name}",
                command=(
                    sys.executable,
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
                url=url,
                health=f"{url}/health",
            )
        )
    return found
