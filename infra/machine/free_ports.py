"""Free ports, found once and remembered."""

from __future__ import annotations

import json
import random
import socket
from pathlib import Path

from mlratchet.infra.machine.atomic import write_atomically
from mlratchet.models.errors import ConfigurationError

NAMES = ("seaweed_master", "seaweed_volume", "seaweed_filer", "s3", "mlflow", "prefect")
GRPC_OFFSET = 10_000  # SeaweedFS opens HTTP + 10000 for gRPC
LOWEST, HIGHEST = 20_000, 30_000
USUALLY_GIVEN = (32_768, 60_999)
LISTENS = "0A"  # as the kernel writes the state of a socket


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
    """A free port whose gRPC partner is free too."""
    for port in random.sample(range(LOWEST, HIGHEST), HIGHEST - LOWEST):
        if port not in taken and is_free(port) and is_free(port + GRPC_OFFSET):
            return port
    raise OSError(f"no free port between {LOWEST} and {HIGHEST}")


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
            ports.setdefault(name, find_port(set(ports.values())))
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
