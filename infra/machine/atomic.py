"""Write a file so that a reader sees all of it or what was there before, whoever else writes it at the same moment."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_atomically(file: Path, data: str | bytes) -> None:
    """Written beside its place, then renamed. Of several who do so at once the last one's stands."""
    _write(file, data, 0o666)


def write_private(file: Path, data: str | bytes) -> None:
    """The same, of mode 0600 from its first byte."""
    _write(file, data, 0o600)


def _write(file: Path, data: str | bytes, mode: int) -> None:
    part = file.with_name(f"{file.name}.{secrets.token_hex(4)}.part")  # nobody else's
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as sink:
            sink.write(data.encode() if isinstance(data, str) else data)
        part.replace(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
