"""What a stack leaves behind, however it ended: processes, sockets and temporary folders. The supervisor's guardian,
`ratchet down` and the next `ratchet up` clear it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from mlratchet.infra.machine.free_ports import GRPC_OFFSET, known_ports
from mlratchet.infra.machine.processes import STACK_MARK, sweep
from mlratchet.infra.machine.temporary import remove_abandoned_folders, remove_service_folders
from mlratchet.models.errors import ConfigurationError

SOCKETS = {"master": "seaweed_master", "volume": "seaweed_volume", "filer": "seaweed_filer", "s3": "s3"}


def clear_leftovers(home: Path) -> int:
    """Of the stack in `home`; returns how many processes there were. Nothing of it may be wanted any more."""
    swept = sweep(STACK_MARK, str(home))
    with suppress(ConfigurationError):  # of a damaged file; whoever starts the stack is told
        remove_sockets(known_ports(home))
    remove_service_folders(home)
    remove_abandoned_folders()
    return swept


def remove_sockets(ports: dict[str, int]) -> None:
    """SeaweedFS listens on sockets in /tmp, too, for who holds its certificate, and leaves them there."""
    for server, name in SOCKETS.items():
        with suppress(OSError, KeyError):  # somebody else's is not ours to remove
            socket = f"/tmp/seaweedfs-{server}-grpc-{ports[name] + GRPC_OFFSET}.sock"  # noqa: S108 - its choice
            Path(socket).unlink(missing_ok=True)
