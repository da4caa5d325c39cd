"""Write a file so that a reader sees all of it or what was there before, whoever else writes it at the same moment."""

from __future__ import annotations

import fcntl
import os
from io import BufferedWriter
from pathlib import Path


def write_atomically(file: Path, data: str | bytes) -> None:
    """Written beside its place, then renamed."""
    _write(file, data, 0o666)


def write_private(file: Path, data: str | bytes) -> None:
    """The same, of mode 0600 from its first byte."""
    _write(file, data, 0o600)


def _write(file: Path, data: str | bytes, mode: int) -> None:
    part = file.with_name(f"{file.name}.part")
    while True:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, mode), "wb") as sink:
            fcntl.flock(sink, fcntl.LOCK_EX)
            if not _is_at(part, sink):  # another writer, who had it first, has put it into its place
                continue
            if os.fstat(sink.fileno()).st_mode & 0o777 & ~mode:  # left by somebody who let others read it
                part.unlink()
                continue
            sink.truncate()  # what a writer that was killed has left
            sink.write(data.encode() if isinstance(data, str) else data)
            sink.flush()
            part.replace(file)
            return


def _is_at(path: Path, held: BufferedWriter) -> bool:
    try:
        return os.path.samestat(path.stat(follow_symlinks=False), os.fstat(held.fileno()))
    except FileNotFoundError:
        return False
