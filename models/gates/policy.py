"""Gate policy: the checks on each transition, as a pipeline file declares them.

A policy is validated whole before anything trains: no default direction, no unknown metric, no NaN threshold, no empty
gate, no check where its evidence does not exist yet, and a bound on the wrong side of a metric's direction is refused.
"""

from __future__ import annotations

from typing import Annotated, Literal

from mlratchet.models.config import StrictModel
from mlratchet.models.gates.checks.approval import ApprovalCheck
from mlratchet.models.gates.checks.base import Check
from mlratchet.models.gates.checks.contract import ContractCheck
from mlratchet.models.gates.checks.data import DataCheck
from mlratchet.models.gates.kinds import AnyCheck
from mlratchet.models.gates.names import ALL_GATES, GATES
from mlratchet.models.identity.canonical import digest
from pydantic import Field, ValidationInfo, field_validator, model_validator

MOST_SET_ASIDE = 0.05  # share of a delivery's records, where the file declares no limit
Checks = Annotated[tuple[AnyCheck, ...], Field(strict=False)]


class HoldoutPolicy(StrictModel):
    """What follows when the same test rows have gated often: they wear out (Dwork et al., Science 349, 2015)."""

    warn_after: int = Field(default=20, ge=1)
    """Uses of the same rows from which `then` applies."""
    then: Literal["warn", "stricter", "rotate"] = "warn"
    """`warn`: recorded. `stricter`: every error probability is divided by the number of uses (Bonferroni), and an
    estimate without an interval is asked of its bound. `rotate`: inconclusive until `data.split.salt` changes."""


class _Gates(StrictModel):
    """Checks by gate; shared by the pipeline's own policy and by a policy file."""

    data: Checks = ()
    candidate: Checks = ()
    staging: Checks = ()
    champion: Checks = ()
    probation: Checks = ()
    """After the promotion; optional. `fail` rolls back."""
    on_inconclusive: Literal["hold", "fail"] = "hold"
    """`hold`: the verdict of the gate is inconclusive and nothing moves; `fail`: it counts as failed."""
    holdout: HoldoutPolicy | None = None
    bootstrap: Literal["absolute_only"] = "absolute_only"
    """The first model: checks against another version are recorded as not applicable, all others must pass."""

    @field_validator(*ALL_GATES)
    @classmethod
    def _in_place(cls, checks: tuple[Check, ...], info: ValidationInfo) -> tuple[Check, ...]:
        gate = str(info.field_name)
        for number, check in enumerate(checks):
            if gate not in check.gates:
                where = [name for name in ALL_GATES if name in check.gates]
                raise ValueError(
                    f"{number}: a {check.kind} check has no evidence at the {gate} gate; "
                    f"put it under {' or '.join(where)}"
                )
            if check in checks[:number]:
                raise ValueError(f"{number}: the same {check.kind} check as {checks.index(check)}; remove one of them")
        return checks


class SharedPolicy(_Gates):
    """A policy file of an organisation. Its checks always apply: a pipeline may add, never take away."""

    name: str = Field(min_length=1)

    @model_validator(mode="after")
    def _says_something(self) -> SharedPolicy:
        if not any(getattr(self, gate) for gate in ALL_GATES):
            raise ValueError(f"a shared policy needs at least 1 check under one of {', '.join(ALL_GATES)}")
        return self


class GatePolicy(_Gates):
    """The gates of one pipeline, with those of the shared policy file it refers to."""

    policy: str | None = None
    """A shared policy file, relative to the pipeline file."""
    shared: SharedPolicy | None = None
    """Its content, filled in when the pipeline file is read: so the digest of a policy holds every check."""

    @model_validator(mode="after")
    def _no_empty_gate(self) -> GatePolicy:
        for gate in GATES:
            if not self.checks(gate):
                raise ValueError(f"gates.{gate} has no checks; give it at least 1")
        return self

    def checks(self, gate: str) -> tuple[Check, ...]:
        """Every check of a gate, those of the shared policy first."""
        if gate not in ALL_GATES:
            raise ValueError(f"no gate {gate!r}; there are {', '.join(ALL_GATES)}")
        ours: tuple[Check, ...] = getattr(self, gate)
        theirs: tuple[Check, ...] = getattr(self.shared, gate) if self.shared is not None else ()
        return theirs + tuple(check for check in ours if check not in theirs)  # one that both ask is asked once

    def all_checks(self) -> tuple[tuple[str, int, Check], ...]:
        """(gate, number, check) of every gate."""
        return tuple((gate, n, check) for gate in ALL_GATES for n, check in enumerate(self.checks(gate)))

    @property
    def fails_inconclusive(self) -> bool:
        """Whether `inconclusive` counts as failed; a pipeline cannot relax the shared policy."""
        return "fail" in (self.on_inconclusive, self.shared.on_inconclusive if self.shared else "hold")

    @property
    def holdout_rule(self) -> HoldoutPolicy | None:
        """The stricter of the pipeline's own and the shared one's, part by part."""
        rules = [r for r in (self.holdout, self.shared.holdout if self.shared else None) if r is not None]
        if not rules:
            return None
        order = ("warn", "stricter", "rotate")
        return HoldoutPolicy(
            warn_after=min(rule.warn_after for rule in rules),
            then=max((rule.then for rule in rules), key=order.index),
        )

    def with_required(self) -> GatePolicy:
        """With what holds where the file declares nothing of it: a `contract` check at the staging gate, so that
        clients of the champion are still answered, and at the data gate a limit of what may be set aside."""
        update: dict[str, tuple[Check, ...]] = {}
        if not any(isinstance(check, ContractCheck) for check in self.checks("staging")):
            update["staging"] = (*self.staging, ContractCheck(kind="contract"))
        if not any(_limits_rejects(check) for check in self.checks("data")):
            limit = DataCheck(kind="data", measure="rejected_fraction", maximum=MOST_SET_ASIDE)
            update["data"] = (*self.data, limit)
        return self.model_copy(update=update) if update else self

    def digest(self) -> str:
        """SHA-256 hex of every check and rule that applies; the path of a shared file is not part of it."""
        return digest(self.model_dump(mode="json", exclude={"policy"}))


def _limits_rejects(check: Check) -> bool:
    return isinstance(check, DataCheck) and check.measure == "rejected_fraction" and check.maximum is not None


def approval_checks(policy: GatePolicy, gate: str) -> tuple[ApprovalCheck, ...]:
    """The gate's approval checks, those of the shared policy first; empty when it asks nobody."""
    return tuple(check for check in policy.checks(gate) if isinstance(check, ApprovalCheck))
