"""Free ports, found once and remembered."""

from __future__ import annotations

import errno
import json
import random
import socket
import sys
from collections import deque
from pathlib import Path

from mlratchet.infra.machine.atomic import write_atomically
from mlratchet.models.errors import ConfigurationError

NAMES = ("seaweed_master", "seaweed_volume", "seaweed_filer", "s3", "mlflow", "prefect")
GRPC_OFFSET = 10_000  # SeaweedFS opens HTTP + 10000 for gRPC
USUALLY_GIVEN = (32_768, 60_999)
# With its gRPC partner below those that the kernel gives to whoever connects: while SeaweedFS is not up, a connection
# would take the partner, and keep it
LOWEST, HIGHEST = 20_000, USUALLY_GIVEN[0] - GRPC_OFFSET
LISTENS = "0A"  # as the kernel writes the state of a socket
TOLD: deque[socket.socket] = deque(maxlen=64)  # by this process; each keeps the name of a port from the others


def is_free(port: int) -> bool:
    """Whether a loopback listener could take the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def find_port(taken: set[int]) -> int:
    """A free port whose gRPC partner is free too, and that no other Ratchet of this machine was just told, whose server
    does not listen yet."""
    for port in random.sample(range(LOWEST, HIGHEST), HIGHEST - LOWEST):
        if port not in taken and is_free(port) and is_free(port + GRPC_OFFSET) and _keep(port):
            return port
    raise OSError(f"no free port between {LOWEST} and {HIGHEST}")


def _keep(port: int) -> bool:
    """Whether nobody has it. As long as this process lives, the kernel then tells everybody else so: by a socket whose
    name is in no folder. Where there are no such sockets, nobody knows."""
    if sys.platform != "linux":
        return True
    name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        name.bind(f"\0ratchet-port-{port}")
    except OSError as error:
        name.close()
        return error.errno != errno.EADDRINUSE
    TOLD.append(name)
    return True


def known_ports(home: Path) -> dict[str, int]:
    """The ports that this installation has by now. Raises ``ConfigurationError`` for a file that does not say."""
    file = home / "ports.json"
    if not file.is_file():
        return {}
    try:
        return {str(name): _as_port(held) for name, held in json.loads(file.read_text()).items()}
    except (ValueError, AttributeError) as error:
        raise ConfigurationError(
            f"{file}: is not what `ratchet up` wrote ({error}), expected a port for each service; restore it, or "
            "remove it to choose other ports"
        ) from error


def _as_port(held: object) -> int:
    if type(held) is not int or not 0 < held < 1 << 16:
        raise ValueError(f"{held!r} is no port")
    return held


def remembered_ports(home: Path) -> dict[str, int]:
    """The ports of this installation; found on the first call."""
    ports = known_ports(home)
    if any(name not in ports for name in NAMES):
        for name in NAMES:
            if name not in ports:
                ports[name] = find_port(set(ports.values()))
        write_ports(home, ports)
    return ports


def port_of(home: Path, name: str) -> int:
    """The remembered port of a model server."""
    ports = remembered_ports(home)
    if name not in ports:
        ports[name] = find_port(set(ports.values()))
        write_ports(home, ports)
    return ports[name]


def given_ports() -> range:
    """Those that the kernel gives to a program which asks for any; as Linux is delivered, where that is not told."""
    told = Path("/proc/sys/net/ipv4/ip_local_port_range")
    lowest, highest = map(int, told.read_text().split()) if told.is_file() else USUALLY_GIVEN
    return range(lowest, highest + 1)


def listened_on() -> set[int]:
    """Of TCP, on this machine, by whomever."""
    rows = [
        line.split()
        for file in (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
        if file.is_file()
        for line in file.read_text().splitlines()[1:]
    ]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == LISTENS}


def write_ports(home: Path, ports: dict[str, int]) -> None:
    """Atomically."""
    write_atomically(home / "ports.json", json.dumps(ports, indent=2))
