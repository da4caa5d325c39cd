"""Files that somebody names on this machine, one by one or by their folder; none is left out without a word."""

from __future__ import annotations

import os
from pathlib import Path

from mlratchet.models.errors import DataError


def files_below(path: Path) -> list[Path]:
    """Itself, or all files in a folder and below it, in order. Raises ``DataError`` for what is not there or cannot be
    read."""

    def refuse(error: OSError) -> None:
        raise _unreadable(error.filename, str(error.strerror)) from error

    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    folders = os.walk(path, onerror=refuse) if path.is_dir() else [(str(path.parent), [], [path.name])]
    found = sorted(file for folder, _, names in folders for name in names if (file := Path(folder, name)).is_file())
    for file in found:
        if not os.access(file, os.R_OK):
            raise _unreadable(file, "Permission denied")
    return found


def _unreadable(what: object, why: str) -> DataError:
    return DataError(f"{what}: cannot be read: {why}; nothing was done: make it readable, or move it elsewhere")
