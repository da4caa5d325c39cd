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
from typing import IO

from mlratchet.infra.machine.atomic import write_atomically
from mlratchet.infra.machine.lifetime import die_with_parent
from mlratchet.infra.machine.processes import STACK_MARK, end_group
from mlratchet.infra.machine.temporary import service_folder
from mlratchet.infra.serving.local import model_servers
from mlratchet.infra.settings import (
    Settings,
    base_environment,
    child_environment,
    load_settings,
    told_temporary,
)
from mlratchet.infra.stack.prepare import prepare_automation
from mlratchet.infra.stack.services import Service, script, services
from mlratchet.infra.stack.volumes import Volumes

LOOP_S = 0.25  # seconds between two looks at the processes
HEALTH_S = 2.0  # seconds between two questions to a healthy service
LOCK_TRIES = 10  # 50 ms apart
BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)  # before the next start of a service that keeps dying


class SupervisedService:
    """A service and its process."""

    def __init__(self, service: Service, home: Path) -> None:
        self.service, self._home = service, home
        self.log = home / "logs" / f"{service.name}.log"
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
        with log_or_nothing(self.log) as sink:
            self.process = subprocess.Popen(
                self.service.command,
                env=self.service.environment | temporary_environment(self._home, self.service.name),
                cwd=self.service.directory,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )


def temporary_environment(home: Path, service: str) -> dict[str, str]:
    """A TMPDIR of its own for a service; one that cannot have it starts without."""
    try:
        return told_temporary(service_folder(home, service))
    except OSError:
        return {}


def log_or_nothing(log: Path) -> IO[bytes]:
    """The log, to append to; a service that cannot have one starts without."""
    try:
        return log.open("ab")
    except OSError:
        return Path(os.devnull).open("ab")


class Supervisor:
    """The loop."""

    def __init__(self, settings: Settings, project: Path) -> None:
        self._settings = settings
        self._project = project
        self._kept: dict[str, SupervisedService] = {}
        self._requests: dict[str, int] | None = None
        self._wanted: list[Service] = []
        self._told = ""
        self._guardian: subprocess.Popen[bytes] | None = None
        self._volumes = Volumes(settings)
        self._watched = False
        used = (settings.home / "data" / "prefect.db").exists()  # there is nothing to repair in a fresh stack
        self._repair_at = time.monotonic() + (0.0 if used else settings.reconcile_seconds)
        self._complaint = ""
        self.stopping = threading.Event()

    def run(self) -> None:
        """Until asked to stop."""
        self._volumes.watch()
        while not self.stopping.is_set():
            self.look()
            self.stopping.wait(LOOP_S)
        self._stop()

    def look(self) -> None:
        """Once at everything. What the machine refuses (a full disk, no more files) ends nothing: whatever lives goes
        on, and the next look tries again."""
        for part in (self._guard, self._tend, self._repair_when_due, self._write_state):
            try:
                part()
            except OSError as error:
                self._complain(error)

    def _complain(self, error: OSError) -> None:
        """Once per refusal; the log may be on the very disk that is full."""
        words = f"{error.strerror or error}: {error.filename or 'a process'}"
        if words != self._complaint:
            self._complaint = words
            with contextlib.suppress(OSError):
                print(f"the supervisor goes on without it: {words}", file=sys.stderr, flush=True)  # noqa: T201 - its log

    def _tend(self) -> None:
        wanted = self._services()
        for service in wanted:
            kept = self._kept.get(service.name)
            if kept is None or kept.service.command != service.command:
                if kept is not None and kept.process is not None:
                    end_group(kept.process, kept.service.grace_s)
                self._kept[service.name] = SupervisedService(service, self._settings.home)
        self.end_unwanted(wanted)
        healthy = {name for name, kept in self._kept.items() if kept.healthy}
        for kept in self._kept.values():
            try:
                kept.tick(healthy)
            except OSError as error:  # the others are looked at all the same
                self._complain(error)
        self._look_at_volumes(self._kept["seaweedfs"])
        if not self._watched and "prefect" in healthy:
            self._watched = prepare_automation(self._settings)

    def end_unwanted(self, wanted: list[Service]) -> None:
        """What nobody asks for any more, as the server of a pipeline that was stopped."""
        for name in set(self._kept) - {service.name for service in wanted}:
            ended = self._kept.pop(name)
            if ended.process is not None:
                end_group(ended.process, ended.service.grace_s)

    def _repair_when_due(self) -> None:
        healthy = {name for name, kept in self._kept.items() if kept.healthy}
        due = time.monotonic() >= self._repair_at
        if due and healthy >= {service.name for service in services(self._settings, self._project)}:
            self._repair()

    def _services(self) -> list[Service]:
        """Made anew when a request for a server is new or changes: to make them costs ten times what a look costs."""
        folder = self._settings.home / "serving"
        requests = {file.name: file.stat().st_mtime_ns for file in folder.glob("*.json")}
        if requests != self._requests:
            self._wanted = [*services(self._settings, self._project), *model_servers(self._settings, self._project)]
            self._requests = requests
        return self._wanted

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
                (sys.executable, "-P", "-m", "mlratchet.infra.stack.guardian", str(self._settings.home)),
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
        told = json.dumps(state)
        if told != self._told:
            write_atomically(self._settings.home / "run" / "services.json", told)
            self._told = told


def take(lock: IO[str]) -> bool:
    """Whether the lock is ours now. Who asks for the supervisor's pid tries it for a moment."""
    for _ in range(LOCK_TRIES):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.05)
    return False


def main(home: Path, project: Path) -> None:
    """Hold the lock for as long as the stack lives."""
    with (home / "run" / "supervisor.lock").open("a+") as lock:
        if not take(lock):
            return  # another supervisor owns this home
        lock.truncate(0)
        (home / "run" / "supervisor.pid").write_text(str(threading.get_native_id()))
        supervisor = Supervisor(load_settings(home), project)

        def stop(_signum: int, _frame: FrameType | None) -> None:
            supervisor.stopping.set()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        supervisor.run()
        (home / "run" / "services.json").unlink(missing_ok=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
