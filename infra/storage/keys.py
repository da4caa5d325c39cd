"""Which keys are allowed."""

from __future__ import annotations

from mlratchet.models.errors import SecurityError


def check_key(key: str) -> str:
    """`key` itself. Raises ``SecurityError`` for one that could leave its place."""
    parts = key.split("/")
    if not key or key.startswith("/") or "\\" in key or "\0" in key or ".." in parts or "." in parts:
        raise SecurityError(
            f"object key {key!r}: got a key with '..', '.', '\\', NUL or a leading '/'; rename the object"
        )
    return key
