"""The bytes of a module that was found, and what its import statements name in full."""

from __future__ import annotations

from pathlib import Path

from mlratchet.models.finding import Found
from mlratchet.models.identity.normal_form import Import


def bytes_of(found: Found) -> bytes:
    """Of a file, or of what lies in an archive. Empty where neither the file system nor the loader has it."""
    assert found.origin is not None
    try:
        return Path(found.origin).read_bytes()
    except OSError:
        try:
            data: bytes = found.loader.get_data(found.origin)
        except (OSError, AttributeError):
            return b""
        return data


def absolute(one: Import, found: Found) -> str | None:
    """The full name of what an import statement of a module imports from; None where it leads out of the package."""
    if one.level == 0:
        return one.module
    package = found.name if found.locations is not None else found.name.rpartition(".")[0]
    parts = package.split(".") if package else []
    if len(parts) < one.level:
        return None
    base = parts[: len(parts) - one.level + 1]
    return ".".join([*base, one.module] if one.module else base)
