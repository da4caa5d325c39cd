"""The one process that owns the stack's services: starts them side by side, heals what dies, ends with them.

Run as ``python -m mlratchet.infra.stack.supervisor HOME PROJECT``; `ratchet up` does.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType

from mlratchet.infra.machine.atomic import write_atomically
from mlratchet.infra.machine.lifetime import die_with_parent
from mlratchet.infra.machine.processes import STACK_MARK, end_group
from mlratchet.infra.serving.local import model_servers
from mlratchet.infra.settings import Settings, base_environment, child_environment, load_settings
from mlratchet.infra.stack.prepare import prepare_automation
from mlratchet.infra.stack.services import Service, script, services
from mlratchet.infra.stack.volumes import Volumes

LOOP_S = 0.25  # seconds between two looks at the processes
HEALTH_S = 2.0  # seconds between two questions to a healthy service
BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)  # before the next start of a service that keeps dying


class SupervisedService:
    """A service and its process."""

    def __init__(self, service: Service, logs: Path) -> None:
        self.service = service
        self.log = logs / f"{service.name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.healthy = False
        self.unready = ""
        self.starts = 0
        self._not_before = 0.0
        self._ask_again = 0.0

    def tick(self, healthy: set[str]) -> None:
        """Start it if it is not running, then ask its health."""
        if self.process is not None and self.process.poll() is not None:
            if self.service.owns_group:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.process.pid, signal.SIGKILL)  # what it started would hold its port
            self.process = None
            self.healthy = False
            self._not_before = time.monotonic() + BACKOFF_S[min(self.starts, len(BACKOFF_S) - 1)]
        if self.process is None:
            if time.monotonic() >= self._not_before and set(self.service.after) <= healthy:
                self.start()
            return
        if self.healthy and time.monotonic() < self._ask_again:
            return
        self.healthy = self.service.is_healthy()
        self.unready = self.service.unready() if self.healthy else ""
        self._ask_again = time.monotonic() + HEALTH_S
        if self.healthy:
            self.starts = min(self.starts, 1)

    def start(self) -> None:
        """In a group of its own, output to the kept log."""
        self.starts += 1
        with self.log.open("ab") as sink:
            self.process = subprocess.Popen(
                self.service.command,
                env=self.service.environment,
                cwd=self.service.directory,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )


class Supervisor:
    """The loop."""

    def __init__(self, settings: Settings, project: Path) -> None:
        self._settings = settings
        self._project = project
        self._kept: dict[str, SupervisedService] = {}
        self._guardian: subprocess.Popen[bytes] | None = None
        self._volumes = Volumes(settings)
        self._watched = False
        used = (settings.home / "data" / "prefect.db").exists()  # there is nothing to repair in a fresh stack
        self._repair_at = time.monotonic() + (0.0 if used else settings.reconcile_seconds)
        self.stopping = threading.Event()

    def run(self) -> None:
        """Until asked to stop."""
        self._volumes.watch()
        while not self.stopping.is_set():
            self._guard()
            wanted = [*services(self._settings, self._project), *model_servers(self._settings, self._project)]
            for service in wanted:
                kept = self._kept.get(service.name)
                if kept is None or kept.service.command != service.command:
                    if kept is not None and kept.process is not None:
                        end_group(kept.process, kept.service.grace_s)
                    self._kept[service.name] = SupervisedService(service, self._settings.home / "logs")
            self.end_unwanted(wanted)
            healthy = {name for name, kept in self._kept.items() if kept.healthy}
            for kept in self._kept.values():
                kept.tick(healthy)
            self._look_at_volumes(self._kept["seaweedfs"])
            if not self._watched and "prefect" in healthy:
                self._watched = prepare_automation(self._settings)
            if time.monotonic() >= self._repair_at and healthy >= {
                s.name for s in services(self._settings, self._project)
            }:
                self._repair()
            self._write_state()
            self.stopping.wait(LOOP_S)
        self._stop()

    def end_unwanted(self, wanted: list[Service]) -> None:
        """What nobody asks for any more, as the server of a pipeline that was stopped."""
        for name in set(self._kept) - {service.name for service in wanted}:
            ended = self._kept.pop(name)
            if ended.process is not None:
                end_group(ended.process, ended.service.grace_s)

    def _stop(self) -> None:
        """All at once but the store, which the others may still write to; it ends last."""
        for name, kept in self._kept.items():
            if kept.process is not None and name != "seaweedfs":
                kept.process.terminate()
        for kept in reversed(self._kept.values()):
            if kept.process is not None:
                end_group(kept.process, kept.service.grace_s)

    def _guard(self) -> None:
        """Keep a guardian; its pipe closes with this process."""
        if self._guardian is None or self._guardian.poll() is not None:
            self._guardian = subprocess.Popen(
                (sys.executable, "-m", "mlratchet.infra.stack.guardian", str(self._settings.home)),
                stdin=subprocess.PIPE,
                start_new_session=True,
            )

    def _look_at_volumes(self, s3: SupervisedService) -> None:
        """A gateway that answers is not enough: objects have to be taken."""
        self._volumes.belongs_to(s3.process.pid if s3.process is not None else None)
        if s3.process is not None and self._volumes.wants_restart():
            end_group(s3.process, s3.service.grace_s)
            self._volumes.belongs_to(None)

    def _is_prepared(self, name: str) -> bool:
        return {"seaweedfs": self._volumes.writable, "prefect": self._watched}.get(name, True)

    def _repair(self) -> None:
        """When a used stack is up again, and then every `reconcile_seconds`: events get lost, files do not."""
        self._repair_at = time.monotonic() + self._settings.reconcile_seconds
        with (self._settings.home / "logs" / "reconcile.log").open("ab") as sink:
            subprocess.Popen(
                (script("ratchet"), "reconcile"),
                env=base_environment() | child_environment(self._settings) | {STACK_MARK: str(self._settings.home)},
                cwd=self._project,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,
            )

    def _write_state(self) -> None:
        state = [
            {
                "name": name,
                "pid": kept.process.pid if kept.process else None,
                "url": kept.service.url,
                "healthy": kept.healthy and self._is_prepared(name),
                "unready": kept.unready,
                "log": str(kept.log),
            }
            for name, kept in self._kept.items()
        ]
        write_atomically(self._settings.home / "run" / "services.json", json.dumps(state))


def main(home: Path, project: Path) -> None:
    """Hold the lock for as long as the stack lives."""
    with (home / "run" / "supervisor.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # another supervisor owns this home
        lock.truncate(0)
        supervisor = Supervisor(load_settings(home), project)
        (home / "run" / "supervisor.pid").write_text(str(threading.get_native_id()))

        def stop(_signum: int, _frame: FrameType | None) -> None:
            supervisor.stopping.set()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        supervisor.run()
        (home / "run" / "services.json").unlink(missing_ok=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
