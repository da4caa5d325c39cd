"""Backtest: which past versions other thresholds would have promoted, and what would have served when.

Pure: whoever calls brings the judgement of one version against one champion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mlratchet.models.gates.names import GATES
from mlratchet.models.gates.result import GateResult
from mlratchet.models.ledger.entry import LedgerEntry


@dataclass(frozen=True, kw_only=True)
class Past:
    """A version as it stood when it was registered."""

    version: int
    work_key: str
    registered_s: float  # seconds since the epoch


@dataclass(frozen=True, kw_only=True)
class Span:
    """A version that served from a moment on, until the next span."""

    from_s: float
    version: int


@dataclass(frozen=True, kw_only=True)
class PastPromotion:
    """What the policy says of one version, and what happened."""

    version: int
    at_s: float
    against: int | None  # the champion of this history; None for the first
    verdicts: dict[str, str]  # by gate, up to the first that does not pass
    promoted: bool  # by the policy
    was_promoted: bool  # in fact
    reasons: tuple[str, ...]  # of the checks that did not pass


@dataclass(frozen=True, kw_only=True)
class Backtest:
    """The history that the policy would have made, beside the one that was."""

    steps: tuple[PastPromotion, ...]
    served: tuple[Span, ...]  # under the policy
    did_serve: tuple[Span, ...]

    @property
    def differs(self) -> tuple[PastPromotion, ...]:
        """Versions that the policy treats otherwise."""
        return tuple(step for step in self.steps if step.promoted != step.was_promoted)


Judge = Callable[[str, Past, Sequence[Past]], GateResult]
"""(gate, version, the champions of this history so far, oldest first) -> the verdict."""


def simulate(versions: Sequence[Past], entries: Sequence[LedgerEntry], judge: Judge) -> Backtest:
    """Walk the versions in the order of their registration; one that passes every gate becomes the champion.

    Rollbacks were decisions of people and are not part of the policy's history; they are part of what was.
    """
    champions: list[Past] = []
    steps: list[PastPromotion] = []
    served: list[Span] = []
    ever = {entry.version for entry in entries if entry.action == "promote"}
    for past in sorted(versions, key=lambda one: (one.registered_s, one.version)):
        verdicts: dict[str, str] = {}
        reasons: tuple[str, ...] = ()
        for gate in GATES:
            result = judge(gate, past, tuple(champions))
            verdicts[gate] = result.verdict
            if result.verdict != "pass":
                reasons = tuple(c.reason for c in result.checks if c.verdict not in ("pass", "not_applicable"))
                break
        promoted = all(verdicts.get(gate) == "pass" for gate in GATES)
        steps.append(
            PastPromotion(
                version=past.version,
                at_s=past.registered_s,
                against=champions[-1].version if champions else None,
                verdicts=verdicts,
                promoted=promoted,
                was_promoted=past.version in ever,
                reasons=reasons,
            )
        )
        if promoted:
            champions.append(past)
            served.append(Span(from_s=past.registered_s, version=past.version))
    did = tuple(Span(from_s=entry.at_s, version=entry.version) for entry in entries)
    return Backtest(steps=tuple(steps), served=tuple(served), did_serve=did)
