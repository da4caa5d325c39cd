"""What a candidate did beside the champion on real requests: its shadow, its share of them, and labels that came since.

Counts alone, by request: a request with many rows counts once, by its first one, because the rows of one request are
not independent. `models/serving/live_evidence.py` makes it of verified rows of the inference log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How many of n observations were a yes."""

    yes: int = 0
    n: int = 0

    @property
    def pair(self) -> tuple[int, int]:
        """(yes, n)."""
        return self.yes, self.n


NOTHING = Tally()


@dataclass(frozen=True, kw_only=True)
class LiveEvidence:
    """One canary, from its first record until it was looked at."""

    version: int
    champion_version: int
    began_s: float  # seconds since the epoch
    until_s: float
    requests: int = 0  # that clients sent and the candidate was given: what the minimum asks
    minimum_requests: int = 0
    sent: int = 0  # requests that clients sent, to either of the two
    shadowed: int = 0  # requests that the candidate was given in the champion's shadow, replayed ones too
    replayed: int = 0  # requests of ours, in the shadow or not, that the candidate was given
    dropped: int = 0  # rows that the log counted and did not keep
    failed: Tally = NOTHING  # of the candidate's requests those without an answer, whoever is to blame
    champion_failed: Tally = NOTHING  # of the champion's requests in the same time
    shadow_failed: Tally = NOTHING  # of the shadowed requests, each of which the champion answered
    slow: Mapping[str, Tally] = field(default_factory=dict)  # by milliseconds: its answers that took longer
    differs: Mapping[str, Tally] = field(default_factory=dict)  # by tolerance: shadowed answers unlike the champion's
    right: Mapping[str, Tally] = field(default_factory=dict)  # by tolerance: the candidate's live labelled answers
    champion_right: Mapping[str, Tally] = field(default_factory=dict)  # the champion's, in the same time
    files: tuple[str, ...] = ()  # SHA-256 hex of the log files that it was made from
    broken: str = ""  # why the log of this time cannot be relied on; empty when it is whole
    stopped: str = ""  # who took the candidate out of the canary before its end, and why; empty when nobody did


def number_key(value: float) -> str:
    """How a threshold names its tally."""
    return f"{value:.12g}"
