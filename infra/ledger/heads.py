"""Where an installation keeps the heads that it remembers: `heads/<pipeline>.<kind>` of the home folder."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from mlratchet.infra.machine.atomic import write_atomically
from mlratchet.infra.settings import AuditSettings, Settings
from mlratchet.models.ledger.remembered import Verified

Chained = Literal["deployment", "wear", "version", "hold", "canary"]
Kept = Literal[Verified, Chained]


class HeadFiles:
    """Files that whoever writes to the bucket cannot reach; what is read from them is held against a signature, too."""

    def __init__(self, home: Path, where: str, *, writes: bool = True) -> None:
        """`where`: endpoint and bucket. `writes`: False for a process that signs nothing."""
        self._folder, self.where, self.writes = home / "heads", where, writes

    def path(self, name: str, kept: Kept) -> Path:
        """Of one pipeline's head."""
        return self._folder / f"{quote(name, safe='')}.{kept}"

    def read(self, name: str, kept: Kept) -> bytes | None:
        """What was kept, or None."""
        try:
            return self.path(name, kept).read_bytes()
        except OSError:
            return None

    def keep(self, name: str, kept: Kept, data: bytes) -> None:
        """Replace it at once. A home that cannot be written to is no reason to fail: the next one reads all again."""
        with suppress(OSError):
            self._folder.mkdir(exist_ok=True, mode=0o700)
            write_atomically(self.path(name, kept), data)

    def mark(self, name: str, kept: Chained) -> tuple[int, str]:
        """Number and digest of the newest entry that was seen of another chain of a pipeline; (0, "") before that."""
        number, _, digest = (self.read(name, kept) or b"0 ").decode(errors="replace").partition(" ")
        return (int(number), digest) if number.isdecimal() else (0, "")

    def keep_mark(self, name: str, kept: Chained, number: int, digest: str) -> None:
        """See `mark`."""
        self.keep(name, kept, f"{number} {digest}".encode())


def place_of(settings: Settings | AuditSettings) -> str:
    """Which bucket of which server: a ledger of the same name elsewhere is another one."""
    return f"{settings.s3_endpoint_url or settings.s3_region}/{settings.store_bucket}"


def open_heads(settings: Settings, *, writes: bool = True) -> HeadFiles:
    """Of an installation."""
    return HeadFiles(settings.home, place_of(settings), writes=writes)
