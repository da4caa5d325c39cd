"""Judge a check in which a user's code has a part: in a child, on a copy of the evidence, with a time limit.

The child gets the frozen evidence and gives one result. It cannot reach what the next check is judged on, and whatever
it answers is checked like words of a stranger; where it fails, the check is inconclusive.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from mlratchet.models.decisions.stored_evidence import Basis, freeze, thaw
from mlratchet.models.errors import RatchetError
from mlratchet.models.gates.checks.base import Check
from mlratchet.models.gates.checks.custom import CustomCheck
from mlratchet.models.gates.checks.outside import is_outside, malformed_result, name_of, with_source
from mlratchet.models.gates.checks.told import result_of
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.gates.judge import case_of, metrics_of, result_in, rules_of
from mlratchet.models.gates.policy import GatePolicy
from mlratchet.models.gates.result import CheckResult, unknown
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.ports.children import HungError, KilledError, Rights, Workplace, children
from mlratchet.models.ports.memory import ObjectsInMemory

JUDGE = "mlratchet.models.decisions.foreign_judge:judge_one"
LIMIT_S = 300.0  # seconds for one verdict
EVERYTHING = Rights(read=("",))  # of the objects, which holds the evidence of this gate alone


class ForeignJudge:
    """Of one gate: called with the number of a check."""

    def __init__(self, policy: GatePolicy, evidence: Evidence, basis: Basis) -> None:
        self._policy, self._evidence, self._basis = policy, evidence, basis
        self._objects: tuple[ObjectsInMemory, str] | None = None  # the evidence, frozen when it is first asked for

    def __call__(self, number: int) -> CheckResult:
        """Never raises what a user's code did. Raises ``KilledError`` where the child was killed from outside: that
        says nothing of the check, and a verdict is signed for ever."""
        check = self._policy.checks(self._basis.gate)[number]
        if self._objects is None:
            objects = ObjectsInMemory("evidence")
            self._objects = objects, freeze(objects, self._evidence, self._basis)
        objects, digest = self._objects
        policy = json.loads(canonical_json(self._policy.model_dump(mode="json", exclude={"policy"})))
        request = {"policy": policy, "evidence": digest, "number": number}
        try:
            return signed_for(check, result_of(_answered(request, objects)))
        except KilledError:
            raise
        except RatchetError as error:
            return unknown(check.kind, name_of(check) or check.subject, "?", f"{', '.join(check.user_code)}: {error}")


def _answered(request: Mapping[str, Any], objects: ObjectsInMemory) -> Any:
    """Once more where no answer came in time: the machine may have been busy, and the verdict stays."""
    call = partial(children().call, JUDGE, request, store=objects, rights=EVERYTHING, time_limit_s=LIMIT_S)
    try:
        return call()
    except HungError:
        return call()


def signed_for(check: Check, result: CheckResult) -> CheckResult:
    """What may be recorded as the check's: its own kind, and the source that this process read."""
    if is_outside(check):
        why = malformed_result(result)
        if why:
            return unknown(check.kind, name_of(check), "?", f"{check.kind}: {why}")
    if result.kind != check.kind:
        return unknown(check.kind, check.subject, "?", f"a result of kind {result.kind!r} is not its own")
    if isinstance(check, CustomCheck):
        return replace(result, method=with_source(check.function, check.function))
    if is_outside(check):
        said = result.method.rpartition(", source ")[0] or name_of(check)
        return replace(result, method=with_source(said, check.kind))
    return result


def judge_one(request: Mapping[str, Any], workplace: Workplace) -> dict[str, Any]:
    """In the child, where users' modules are imported."""
    policy = GatePolicy.model_validate_json(canonical_json(request["policy"]))
    evidence, basis = thaw(workplace.objects, request["evidence"])
    checks = policy.checks(basis.gate)
    check = checks[request["number"]]
    case = case_of(
        basis.gate,
        checks,
        evidence,
        first_model=basis.first_model,
        task=basis.task,
        class_names=basis.class_names,
        rules=rules_of(policy, basis.now_s),
        metrics=metrics_of([check], basis.task, basis.class_names),
    )
    return asdict(result_in(check, case))
