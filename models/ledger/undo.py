"""What a rollback goes back to: the version under the one that serves, in the chain of promotions."""

from __future__ import annotations

from collections.abc import Iterable

from mlratchet.models.ledger.entry import LedgerEntry


def standing(entries: Iterable[LedgerEntry]) -> list[int]:
    """Versions that were promoted over each other and not rolled back, the one that serves last; oldest entry first.

    A promotion puts its version on top. A rollback takes away whatever stands above its version, so that a second one
    goes further back, never forward again; one to a version that was taken away before puts that on top.
    """
    versions: list[int] = []
    for entry in entries:
        if entry.action == "rollback" and entry.version in versions:
            while versions[-1] != entry.version:
                versions.pop()
        elif not versions or versions[-1] != entry.version:
            versions.append(entry.version)
    return versions


def version_before(entries: Iterable[LedgerEntry]) -> int | None:
    """Where a rollback without a target goes; None when the first promotion that stands serves."""
    versions = standing(entries)
    return versions[-2] if len(versions) > 1 else None
