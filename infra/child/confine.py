"""What a child gives up before it imports a line of the user's, and whether this machine can hold it to that."""

from __future__ import annotations

import ctypes
import json
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mlratchet.infra.child import landlock, seccomp
from mlratchet.infra.child.seccomp import Sockets
from mlratchet.infra.machine.free_ports import given_ports, listened_on
from mlratchet.infra.settings import python_path

PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 4, 38
CAPSET, VERSION_3 = {"x86_64": 126, "aarch64": 91}, 0x20080522
SYSTEM = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt", "/etc", "/proc", "/sys", "/nix",
    "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom",
)  # fmt: skip
WRITTEN = ("/dev/null", "/dev/zero", "/dev/full")
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - a rank's loader workers hand batches over in it
ACCELERATORS = ("nvidia*", "dri", "kfd", "accel*", "infiniband")  # in /dev
KEPT_TOGETHER = ("setsid", "setpgid", "io_uring_setup")
Connects = Literal["nothing", "ranks", "anywhere"]
"""By TCP. `ranks`: to ports that programs are given and do not choose (ip_local_port_range), but to none on which
somebody listens already."""
FIRST_VICTIM = "500"  # of 1000: when memory runs out, the kernel ends a child before who waits for it


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What a child may reach beside the system's own files and the packages that are installed."""

    scratch: Path  # the only folder that it writes, but for
    writes: tuple[Path, ...] = ()
    reads: tuple[Path, ...] = ()
    granted: tuple[Path, ...] = ()  # read also where they lie in what is closed
    closed: tuple[Path, ...] = ()  # never read, wherever they lie: homes of installations, folders with keys
    connects: Connects = "nothing"
    sockets: Sockets = "none"
    shared_memory: bool = False

    def to_json(self) -> str:
        """For the environment of who is to be bound."""
        plain = {name: list(map(str, getattr(self, name))) for name in ("writes", "reads", "closed", "granted")}
        return json.dumps(
            {
                **plain,
                "scratch": str(self.scratch),
                "connects": self.connects,
                "sockets": self.sockets,
                "shared_memory": self.shared_memory,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Bounds:
        """Read back."""
        told = json.loads(text)
        paths = {name: tuple(map(Path, told[name])) for name in ("writes", "reads", "closed", "granted")}
        return cls(**told | paths | {"scratch": Path(told["scratch"])})


def confine(bounds: Bounds) -> None:
    """For this process and all that it starts, for ever. Call it before there is a second thread. From then on, and not
    before, users' modules are found.

    What this machine has no means for is left out: `not_held` says what that is.
    """
    if sys.platform == "linux":
        _give_up(bounds)
    users = [str(Path.cwd()), *python_path()]
    sys.path[:] = [*users, *(folder for folder in sys.path if folder not in users)]


def _give_up(bounds: Bounds) -> None:
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(FIRST_VICTIM)
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    _drop_capabilities()
    if landlock.version():
        shared = [Path(SHARED_MEMORY)] if bounds.shared_memory else []
        landlock.restrict(
            reads=readable(bounds),
            lists={file.parent for file in bounds.reads},  # an import looks for a name in its folder
            writes=[bounds.scratch, *bounds.writes, *map(Path, WRITTEN), *_devices(), *shared],
            ports=ports_of(bounds),
        )
    if seccomp.available():
        with suppress(OSError):  # a kernel without it: `not_held` asks again
            seccomp.refuse([*KEPT_TOGETHER, *(["connect"] if bounds.sockets == "none" else [])], sockets=bounds.sockets)


def ports_of(bounds: Bounds) -> landlock.Ports | None:
    """What may be listened on and connected to, as it is now; None for everything."""
    if bounds.connects == "anywhere":
        return None
    binds = () if bounds.sockets == "none" else (landlock.ANY_PORT,)
    if bounds.connects == "nothing":
        return landlock.Ports(binds=binds)
    taken = listened_on()
    return landlock.Ports(binds=binds, connects=[port for port in given_ports() if port not in taken])


def readable(bounds: Bounds) -> list[Path]:
    """Every folder and file whose content the child may read: nothing of them lies in what is closed."""
    closed = [path.resolve() for path in bounds.closed]
    roots = [*map(Path, SYSTEM), *_installed(), *bounds.reads]
    found = [found for root in dict.fromkeys(root.resolve() for root in roots) for found in without(root, closed)]
    return [*found, *bounds.granted]


def without(root: Path, closed: Iterable[Path]) -> Iterator[Path]:
    """`root`, or as many of its parts as leave out what is closed."""
    inside = [path for path in closed if path == root or root in path.parents]
    if root in inside or any(path in root.parents for path in closed):
        return
    if not inside:
        yield root
        return
    with suppress(OSError):
        for entry in sorted(root.iterdir()):
            if not entry.is_symlink():
                yield from without(entry, inside)


def project_files(folder: Path) -> tuple[Path, ...]:
    """What a child reads of the folder that somebody works in: all but hidden files."""
    with suppress(OSError):
        return tuple(entry for entry in sorted(folder.iterdir()) if not entry.name.startswith("."))
    return ()


def users_files() -> tuple[Path, ...]:
    """The same of every folder of users' modules: where somebody works, and what is on their path."""
    return tuple(file for folder in (Path.cwd(), *map(Path, python_path())) for file in project_files(folder))


def undump() -> None:
    """Nobody but root looks into this process from now on, and no core of it is written: it is about to hold a key."""
    if sys.platform == "linux":
        _prctl(PR_SET_DUMPABLE, 0)


def not_held() -> list[str]:
    """What of the confinement this machine has no means for, in words; nothing where all of it holds."""
    if sys.platform != "linux":
        return [f"nothing of it: {sys.platform} has neither Landlock nor seccomp"]
    found, abi = [], landlock.version()
    if abi == 0:
        found.append("files: this kernel has no Landlock (Linux 5.13, `lsm=landlock`): children read and write yours")
    elif abi < landlock.WITH_TRUNCATE:
        found.append(f"truncating files of others: Landlock {abi} of this kernel does not know it (Linux 6.2)")
    if abi < landlock.WITH_NETWORK:
        found.append(f"TCP ports, of ranks: Landlock {abi} of this kernel does not know them (Linux 6.7)")
    if 0 < abi < landlock.WITH_SCOPES:
        found.append(f"signals: Landlock {abi} of this kernel does not know them (Linux 6.12)")
    if not seccomp.available():
        found.append("processes that leave their group, and sockets: no filter of system calls for this machine")
    return found


def means() -> str:
    """By which what is held is held here."""
    abi = landlock.version()
    by = [f"Landlock {abi}"] if abi else []
    return " and ".join([*by, *(["seccomp"] if seccomp.available() else [])]) or "nothing"


def _installed() -> Iterator[Path]:
    """Interpreter, packages, and Ratchet itself, wherever they are installed or linked."""
    import mlratchet

    beside = {"", "/", str(Path.cwd()), *python_path()}  # the user's own: `reads` says what of it
    yield from (Path(sys.prefix), Path(sys.base_prefix), Path(sys.exec_prefix))
    yield from (Path(path) for path in sysconfig.get_paths().values())
    yield from (Path(path) for path in sys.path if path and path not in beside)
    for part in ("flows", "tasks", "infra", "models"):
        for folder in mlratchet.__path__:
            yield Path(folder) / part


def _devices() -> Iterator[Path]:
    for pattern in ACCELERATORS:
        yield from Path("/dev").glob(pattern)


def _drop_capabilities() -> None:
    """Root without them is a user by the name of root."""
    number = CAPSET.get(os.uname().machine)
    if number is not None:
        header = (ctypes.c_uint32 * 2)(VERSION_3, 0)
        ctypes.CDLL(None).syscall(ctypes.c_long(number), header, (ctypes.c_uint32 * 6)())


def _prctl(what: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(what, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
