"""The ledger port: the append-only history of which version was champion, when and by which decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, runtime_checkable

from mlratchet.models.errors import InfrastructureError
from pydantic import ConfigDict

if TYPE_CHECKING:
    from mlratchet.models.ledger.chain import Chain


class LedgerConflict(InfrastructureError):  # noqa: N818 - the name is the field's own
    """Another promotion came first; the message says which."""

    code = "LEDGER"


@dataclass(frozen=True, kw_only=True)
class LedgerEntry:
    """One promotion or rollback. The entry is the promotion; everything else follows it."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    name: str
    generation: int  # 1 for the first, no gaps
    action: Literal["promote", "rollback"]
    version: int
    work_key: str
    decision: str  # digest of the decision
    manifest: str  # digest of the artifact's manifest
    actor: str
    reason: str
    at_s: float  # seconds since the epoch
    previous: str  # digest of the entry before; "" for the first
    token: str  # unique, tells a lost reply from a lost race
    key_id: str  # whose signature it is
    signature: str  # base64, over the canonical JSON of every other field


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
