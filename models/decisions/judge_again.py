"""Replay: judge again what a decision judged, from the bucket alone, and compare every number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from mlratchet.models.decisions.decision import plain_checks
from mlratchet.models.decisions.document import CheckRecord, Decision, PartRecord
from mlratchet.models.decisions.environment import environment, judging_source_digest
from mlratchet.models.decisions.foreign_judge import ForeignJudge
from mlratchet.models.decisions.stored_evidence import Basis, thaw
from mlratchet.models.errors import SecurityError
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.gates.judge import judge_gate
from mlratchet.models.gates.policy import GatePolicy
from mlratchet.models.gates.result import GateResult
from mlratchet.models.gates.sources import functions_named
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore
from pydantic import ValidationError

TOLERANCE = 1e-9  # relative and absolute, in another environment than the recorded one
EXACT = ("kind", "metric", "verdict", "threshold", "n", "method", "seed", "label")


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What came of judging again."""

    verdict: str
    same_environment: bool  # versions, machine and judging code as recorded: every number must be equal to the bit
    checks: int
    largest_difference: float  # |again - recorded| over every value and interval end; 0.0 when all are equal
    problems: tuple[str, ...]  # one line each; none: the decision holds
    judged_by: str = ""  # digest of the judging code of the decision, where this is other code
    judged_here: str = ""  # of this code, where it is other code

    @property
    def problem(self) -> str:
        """The first problem, and what it may mean that other code judged; empty when there is none."""
        if not self.problems or not self.judged_by:
            return next(iter(self.problems), "")
        return (
            f"{self.problems[0]}; other judging code decided ({self.judged_by[:12]}, here "
            f"{self.judged_here[:12]}), and its methods may differ: verify with the revision that decided"
        )


def policy_key(digest: str) -> str:
    """Where a policy is published."""
    return f"policies/{digest}.json"


def publish_policy(store: ObjectStore, policy: GatePolicy) -> str:
    """Every check as it applies, shared ones included; returns the digest."""
    digest = policy.digest()
    store.create(policy_key(digest), canonical_json(policy.model_dump(mode="json", exclude={"policy"})))
    return digest


def load_policy(store: ObjectStore, digest: str) -> GatePolicy:
    """Read back, verified. Raises ``SecurityError`` for a missing or changed one."""
    try:
        data = store.get(policy_key(digest), sha256=digest)
        return GatePolicy.model_validate_json(data)
    except ObjectNotFound as exc:
        raise SecurityError(f"{exc}; the policy of a decision is gone") from exc
    except ValidationError as exc:
        said = exc.errors()[0]["msg"]
        raise SecurityError(f"{store.bucket}/{policy_key(digest)}: is not a policy of this version: {said}") from exc


def verdict_on(policy: GatePolicy, evidence: Evidence, basis: Basis) -> GateResult:
    """The one call of the judge by gates and by replays: what is frozen is all that a verdict depends on. Checks in
    which a user's code has a part are judged in children, each in one of its own."""
    return judge_gate(
        policy,
        basis.gate,
        evidence,
        first_model=basis.first_model,
        task=basis.task,
        class_names=basis.class_names,
        now_s=basis.now_s,
        elsewhere=ForeignJudge(policy, evidence, basis),
    )


def replay(store: ObjectStore, decision: Decision) -> Replay:
    """Judge again. Raises ``SecurityError`` when policy or evidence is missing, changed or another's."""
    digests = decision["digests"]
    if not isinstance(digests, Mapping) or not {"evidence", "policy"} <= set(digests):
        raise SecurityError(
            f"the {decision.get('gate')} decision names no evidence and policy: it cannot be judged again"
        )
    evidence, basis = thaw(store, digests["evidence"])
    if basis.gate != decision["gate"] or evidence.version != decision["version"]:
        raise SecurityError(f"evidence {digests['evidence'][:12]} is of the {basis.gate} gate of {evidence.version}")
    policy = load_policy(store, digests["policy"])
    result = verdict_on(policy, evidence, basis)
    by, here = _who_judged(digests, policy, basis.gate)
    same = decision.get("environment") == environment() and by == here
    again = plain_checks(result)
    recorded = decision["checks"]
    problems: list[str] = []
    if result.verdict != decision["verdict"]:
        problems.append(f"verdict {result.verdict}, recorded {decision['verdict']}")
    if len(again) != len(recorded):
        problems.append(f"{len(again)} checks, recorded {len(recorded)}")
    largest = 0.0
    for now, then in zip(again, recorded, strict=False):
        largest = max(largest, _compare_check(now, then, 0.0 if same else TOLERANCE, problems))
    return Replay(
        verdict=result.verdict,
        same_environment=same,
        checks=len(again),
        largest_difference=largest,
        problems=tuple(problems),
        judged_by="" if by == here else by,
        judged_here="" if by == here else here,
    )


def _who_judged(digests: Mapping[str, str], policy: GatePolicy, gate: str) -> tuple[str, str]:
    """The judging code of a decision, and this: Ratchet's, or the user's functions where Ratchet's is the same."""
    here = {"code": judging_source_digest(), **functions_named(policy, gate)}
    for name in ("code", "functions"):
        if digests.get(name) != here.get(name):
            return str(digests.get(name)), str(here.get(name))
    return here["code"], here["code"]


def _compare_check(now: CheckRecord, then: CheckRecord, tolerance: float, problems: list[str]) -> float:
    """Appends a line per field that differs, in its parts too; returns the largest difference."""
    largest = _compare(now, then, tolerance, problems)
    if len(now["parts"]) != len(then["parts"]):
        what = f"{then['kind']} {then['metric']}"
        problems.append(f"{what}: {len(now['parts'])} parts, recorded {len(then['parts'])}")
    for part, before in zip(now["parts"], then["parts"], strict=False):
        largest = max(largest, _compare(part, before, tolerance, problems))
    return largest


def _compare(
    now: CheckRecord | PartRecord, then: CheckRecord | PartRecord, tolerance: float, problems: list[str]
) -> float:
    where = " ".join(str(then.get(name)) for name in ("kind", "metric", "label") if then.get(name))
    exact = (*EXACT, "reason") if tolerance == 0 else EXACT
    problems += [
        f"{where}: {name} {now.get(name)}, recorded {then.get(name)}"
        for name in exact
        if _told(name, now) != _told(name, then)
    ]
    largest = 0.0
    for name, a, b in (
        ("value", _numbers(now["value"]), _numbers(then["value"])),
        ("interval", _numbers(now["interval"]), _numbers(then["interval"])),
    ):
        if len(a) != len(b):
            problems.append(f"{where}: {name} {now.get(name)}, recorded {then.get(name)}")
        for x, y in zip(a, b, strict=False):
            largest = max(largest, abs(x - y))
            if not (x == y or math.isclose(x, y, rel_tol=tolerance, abs_tol=tolerance)):
                problems.append(f"{where}: {name} {x!r}, recorded {y!r}")
    return largest


def _told(name: str, check: CheckRecord | PartRecord) -> object:
    """A field to be compared. Which source the user's code had stands in the decision's digests as `functions`: what it
    found is compared, not how it was written."""
    value = check.get(name)
    return value.rpartition(", source ")[0] or value if name == "method" and isinstance(value, str) else value


def _numbers(found: float | list[float] | None) -> list[float]:
    if found is None:
        return []
    return found if isinstance(found, list) else [found]
