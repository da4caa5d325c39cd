"""`ratchet up`, `down` and `status`."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from mlratchet.infra.machine.free_ports import is_free, remembered_ports
from mlratchet.infra.machine.processes import STACK_MARK, wait_until_gone
from mlratchet.infra.project_path import without_users_path
from mlratchet.infra.settings import base_environment
from mlratchet.infra.stack.install import has_auth, install
from mlratchet.infra.stack.leftovers import clear_leftovers
from mlratchet.infra.stack.sessions import renew_key
from mlratchet.models.errors import ConfigurationError, InfrastructureError


@dataclass(frozen=True, kw_only=True)
class ServiceStatus:
    """One service as the supervisor sees it."""

    name: str
    pid: int | None
    url: str | None
    healthy: bool
    log: str
    unready: str = ""  # why a healthy one does not do its work, as a model server that has no champion to serve

    @property
    def works(self) -> bool:
        """Healthy, and does its work."""
        return self.healthy and not self.unready

    @property
    def words(self) -> str:
        """For people."""
        return "NOT HEALTHY" if not self.healthy else "NOT READY" if self.unready else "healthy"


def supervisor_pid(home: Path) -> int | None:
    """The supervisor that holds the lock, or None."""
    lock = home / "run" / "supervisor.lock"
    if not lock.is_file():
        return None
    with lock.open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return recorded_pid(home)
        return None


def recorded_pid(home: Path) -> int | None:
    """What the last supervisor wrote when it had the lock."""
    try:
        return int((home / "run" / "supervisor.pid").read_text())
    except (OSError, ValueError):
        return None


def status(home: Path) -> list[ServiceStatus]:
    """Every service; all unhealthy when the supervisor is gone."""
    alive = supervisor_pid(home) is not None
    try:
        state = json.loads((home / "run" / "services.json").read_text())
    except (OSError, ValueError):
        return []
    return [
        ServiceStatus(
            name=s["name"],
            pid=s["pid"] if alive or (s["pid"] and psutil.pid_exists(s["pid"])) else None,
            url=s["url"],
            healthy=bool(alive and s["healthy"]),
            log=s["log"],
            unready=s.get("unready", ""),
        )
        for s in state
    ]


def up(
    home: Path,
    *,
    auth: bool | None = None,
    report: Callable[[str, str], None] | None = None,
    timeout_s: float = 120.0,
) -> list[ServiceStatus]:
    """Start the stack and wait until every service is healthy. Idempotent.

    Raises ``InfrastructureError`` naming the service that is not, and its log; ``ConfigurationError`` when the stack
    runs already and `auth` asks for another kind.
    """
    home = home.resolve()
    with one_at_a_time(home):
        pid = supervisor_pid(home)
        if pid is None:
            pid = start_supervisor(home, auth=auth)
        elif auth is not None and auth != has_auth(home):
            raise ConfigurationError(
                f"the stack runs {'with' if has_auth(home) else 'without'} passwords; `ratchet down` first"
            )
    return wait_until_healthy(home, pid, report, timeout_s)


@contextmanager
def one_at_a_time(home: Path) -> Iterator[None]:
    """`up` and `down` change who supervises one after the other: the last one to come decides."""
    (home / "run").mkdir(parents=True, exist_ok=True)
    with (home / "run" / "control.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def start_supervisor(home: Path, *, auth: bool | None) -> int:
    """Returns its pid once it holds its lock. Raises ``InfrastructureError`` when it ends before."""
    clear_leftovers(home)  # of a killed supervisor
    (home / "run" / "services.json").unlink(missing_ok=True)
    install(home, auth=auth)
    renew_key(home)
    refuse_taken_ports(home)
    log = home / "logs" / "supervisor.log"
    with log.open("ab") as sink:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "mlratchet.infra.stack.supervisor", str(home), str(Path.cwd())],
            env=without_users_path(base_environment()) | {STACK_MARK: str(home), "RATCHET_HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    while recorded_pid(home) != process.pid:  # to try the lock would keep it from the supervisor
        if process.poll() is not None:
            raise InfrastructureError(f"the supervisor ended at once (exit code {process.returncode}); read {log}")
        time.sleep(0.05)
    return process.pid


def wait_until_healthy(
    home: Path, pid: int, report: Callable[[str, str], None] | None, timeout_s: float
) -> list[ServiceStatus]:
    """Every service of the supervisor `pid`."""
    seen: set[str] = set()
    deadline = time.monotonic() + timeout_s
    while True:
        states = status(home)
        for state in states:
            if state.healthy and state.name not in seen:
                seen.add(state.name)
                if report is not None:
                    report(state.name, state.url or "running")
        if len(states) >= 4 and all(state.healthy for state in states):
            return states
        if supervisor_pid(home) != pid:
            raise InfrastructureError(
                f"the stack in {home} was stopped while it came up (`ratchet down`, or its supervisor was killed: see "
                f"{home / 'logs' / 'supervisor.log'}); `ratchet up` starts it"
            )
        if time.monotonic() > deadline:
            waiting = [s for s in states if not s.healthy]
            names = ", ".join(s.name for s in waiting) or "the supervisor"
            log = waiting[0].log if waiting else home / "logs" / "supervisor.log"
            raise InfrastructureError(
                f"{names} not healthy after {timeout_s:.0f} s; read {log}, then `ratchet up` again"
            )
        time.sleep(0.2)


def refuse_taken_ports(home: Path) -> None:
    """Raises ``InfrastructureError`` naming each remembered port that another process holds."""
    taken = [(name, port) for name, port in remembered_ports(home).items() if not is_free(port)]
    if taken:
        listening = [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
        holders = {tuple(c.laddr)[1]: c.pid for c in listening}
        words = ", ".join(f"{name} {port} (pid {holders.get(port) or 'unknown'})" for name, port in taken)
        raise InfrastructureError(
            f"port taken: {words}; end what holds it, or remove {home / 'ports.json'} and {home / 'stack.env'} "
            "to choose others"
        )


def down(home: Path) -> int:
    """Stop everything; returns how many processes had to be swept after the supervisor left."""
    home = home.resolve()
    if not (home / "run").is_dir():
        return 0
    with one_at_a_time(home):
        pid = supervisor_pid(home)
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            wait_until_gone(pid, 30)
        return clear_leftovers(home)
