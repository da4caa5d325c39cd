"""One entry of the ledger: a promotion or a rollback, as it is published and signed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from mlratchet.models.errors import InfrastructureError
from pydantic import ConfigDict


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
