"""One entry of a pipeline's canary chain: which version a server may load beside the champion, and for what.

`canary/<pipeline>/<number>.json`, signed, each with the digest of the one before. The newest entry alone counts, under
the ledger head that it names, before it expires; a pull-back is an entry, and any new ledger entry ends a canary
without one.
"""

from __future__ import annotations

from typing import Literal

from mlratchet.models.identity.signed_chain import ChainedEntry
from mlratchet.models.promotion.canary.config import MOST_HOURS
from pydantic import Field, model_validator

CANARIES = "canary/"
Phase = Literal["shadow", "share", "settled", "ended"]
Outcome = Literal["pass", "fail", "inconclusive"]


class CanaryEntry(ChainedEntry):
    """What a server may do from now on."""

    phase: Phase
    """`settled`: it was watched long enough and keeps its share until the ledger decides; `ended`: the champion alone
    serves."""
    version: int = Field(ge=1)
    work_key: str
    manifest: str
    """Digest of the artifact's manifest."""
    staging: str
    """Digest of the decision of the staging gate that it passed."""
    share: float = Field(ge=0, lt=1)
    """Of the clients; 0 in the shadow and at the end."""
    step: int = Field(default=0, ge=0)
    """Of `serving.canary.steps`, the first is 0."""
    generation: int = Field(ge=1)
    """Of the ledger entry under which it was made."""
    head: str
    """SHA-256 hex of that entry."""
    run: str
    """Flow run that watches it."""
    began_s: float
    """Seconds since the epoch: of the first entry of this canary."""
    at_s: float
    expires_s: float
    maximum_hours: float = Field(gt=0, le=MOST_HOURS)
    """Of the pipeline file: it expires no later after it began."""
    actor: str
    reason: str
    evidence: str = ""
    """Digest of the live evidence, from `settled` or `ended` on."""
    outcome: Outcome | None = None
    """Of `settled` and `ended`."""
    decision: str = ""
    """Digest of the decision that ended it."""

    @model_validator(mode="after")
    def _holds_together(self) -> CanaryEntry:
        if not self.began_s <= self.at_s or self.expires_s > self.began_s + 3600 * self.maximum_hours + 1e-3:
            raise ValueError("expires later than maximum_hours after it began, or was made before")
        if (self.share > 0) != (self.phase in ("share", "settled")):
            raise ValueError(f"a share of {self.share:g} in phase {self.phase}")
        if (self.outcome is None) != (self.phase in ("shadow", "share")):
            raise ValueError(f"outcome {self.outcome} in phase {self.phase}")
        if bool(self.decision) != (self.phase == "ended"):
            raise ValueError("a canary is ended by a decision, and by nothing else")
        return self

    @property
    def watched(self) -> bool:
        """Whether requests are still counted for it."""
        return self.phase in ("shadow", "share")


def canary_key(name: str, number: int) -> str:
    """Where an entry is published."""
    return f"{CANARIES}{name}/{number:08d}.json"
