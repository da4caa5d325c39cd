"""Write a file so that a reader sees all of it or what was there before."""

from __future__ import annotations

import os
from pathlib import Path


def write_atomically(file: Path, data: str | bytes) -> None:
    """Written beside its place, then renamed."""
    _write(file, data, os.O_TRUNC, 0o666)


def write_private(file: Path, data: str | bytes) -> None:
    """The same, of mode 0600 from its first byte."""
    file.with_name(f"{file.name}.part").unlink(missing_ok=True)
    _write(file, data, os.O_EXCL, 0o600)


def _write(file: Path, data: str | bytes, how: int, mode: int) -> None:
    part = file.with_name(f"{file.name}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | how, mode), "wb") as sink:
        sink.write(data.encode() if isinstance(data, str) else data)
    part.replace(file)
