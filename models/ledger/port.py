"""The ledger port: the append-only history of which version was champion, when and by which decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from mlratchet.models.ledger.entry import LedgerEntry

if TYPE_CHECKING:
    from mlratchet.models.ledger.chain import Chain


@runtime_checkable
class Ledger(Protocol):
    """Hash-chained entries; the champion is the one of the highest generation."""

    def head(self, name: str) -> LedgerEntry | None:
        """The newest entry, or None."""
        ...

    def entries(self, name: str) -> list[LedgerEntry]:
        """All entries, oldest first. Raises ``SecurityError`` for a gap, a broken chain or a signature that does not
        hold."""
        ...

    def chain(self, name: str) -> Chain:
        """The same as `entries` with their digests, for holding other signatures against it."""
        ...

    def digests(self, name: str) -> list[str]:
        """SHA-256 hex of every entry as it was published, oldest first."""
        ...

    def append(
        self,
        name: str,
        *,
        action: Literal["promote", "rollback"],
        version: int,
        work_key: str,
        decision: str,
        manifest: str,
        actor: str,
        reason: str,
        now_s: float,
        expected_generation: int,
    ) -> LedgerEntry:
        """Publish generation `expected_generation` + 1. Raises ``LedgerConflict`` when it exists.

        A lost reply is read back. Times never go back: a clock that is behind writes the time of the entry before.
        """
        ...

    def at(self, name: str, when_s: float) -> LedgerEntry | None:
        """Who was champion at a time."""
        ...
