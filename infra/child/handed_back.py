"""Files that a child left in its scratch, read only where they are plain files of bounded size: a link would make the
process with the key read its own secrets for the child, a pipe would hold it for ever."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from mlratchet.models.ports.children import ForeignCodeError

MOST_FILES = 10_000


def read_handed_back(file: Path, *, most_bytes: int) -> bytes:
    """The bytes. Raises ``ForeignCodeError`` for what is no plain file or larger than `most_bytes`."""
    try:
        opened = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise ForeignCodeError(f"it left no plain file {file.name}: {error.strerror}") from error
    with os.fdopen(opened, "rb") as source:
        facts = os.fstat(source.fileno())
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > most_bytes:
            raise ForeignCodeError(f"it left {file.name} as no plain file of at most {most_bytes} bytes")
        return source.read(most_bytes)


def require_plain_files(folder: Path) -> list[Path]:
    """Every file below `folder`. Raises ``ForeignCodeError`` for a link, a device, a pipe, or over 10,000 files."""
    found: list[Path] = []
    for place, folders, files in os.walk(folder, followlinks=False):
        for name in (*folders, *files):
            path = Path(place, name)
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise ForeignCodeError(f"it left {path.relative_to(folder)}, which is neither a file nor a folder")
            if stat.S_ISREG(mode):
                found.append(path)
        if len(found) > MOST_FILES:
            raise ForeignCodeError(f"it left more than {MOST_FILES} files")
    return found
