"""Files that somebody names on this machine, one by one or by their folder. Of a folder's, those that a system keeps
for itself (`.DS_Store`, `.ipynb_checkpoints/`, `__MACOSX/`) are no data; who names one by itself means it."""

from __future__ import annotations

import os
from pathlib import Path

from mlratchet.models.errors import DataError

KEPT_FOR_ITSELF = ("__MACOSX",)  # and whatever begins with a dot


def files_below(path: Path) -> list[Path]:
    """Itself, or all files in a folder and below it, in order, but hidden ones. Raises ``DataError`` for what is not
    there or cannot be read."""
    found = [file for file in _all_below(path) if not _is_hidden(file, path)]
    for file in found:
        if not os.access(file, os.R_OK):
            raise _unreadable(file, "Permission denied")
    return found


def hidden_below(path: Path) -> list[Path]:
    """What `files_below` leaves out. Raises ``DataError`` as it does."""
    return [file for file in _all_below(path) if _is_hidden(file, path)]


def _all_below(path: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise _unreadable(error.filename, str(error.strerror)) from error

    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    folders = os.walk(path, onerror=refuse) if path.is_dir() else [(str(path.parent), [], [path.name])]
    return sorted(file for folder, _, names in folders for name in names if (file := Path(folder, name)).is_file())


def _is_hidden(file: Path, path: Path) -> bool:
    parts = file.relative_to(path).parts if path.is_dir() else ()
    return any(part.startswith(".") or part in KEPT_FOR_ITSELF for part in parts)


def _unreadable(what: object, why: str) -> DataError:
    return DataError(f"{what}: cannot be read: {why}; nothing was done: make it readable, or move it elsewhere")
