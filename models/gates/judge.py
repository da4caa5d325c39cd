"""Judge: a pure function of policy and evidence. It fails closed: what is missing, unknown or not a number
never passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlratchet.models.approval.check import ApprovalCheck
from mlratchet.models.gates.checks.absolute import AbsoluteCheck, CalibrationCheck, judge_absolute, judge_calibration
from mlratchet.models.gates.checks.approval_verdict import judge_approval
from mlratchet.models.gates.checks.artifact import (
    ContractCheck,
    LatencyCheck,
    MemoryCheck,
    ParityCheck,
    SizeCheck,
    judge_contract,
    judge_latency,
    judge_memory,
    judge_parity,
    judge_size,
)
from mlratchet.models.gates.checks.attribution import AttributionCheck, judge_attribution
from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.checks.cost import BudgetCheck, judge_budget
from mlratchet.models.gates.checks.custom import CustomCheck, judge_custom
from mlratchet.models.gates.checks.data import DataCheck, judge_data
from mlratchet.models.gates.checks.fairness import FairnessCheck, judge_fairness
from mlratchet.models.gates.checks.paired import (
    AnchorCheck,
    NonInferiorityCheck,
    RelativeCheck,
    SuperiorityCheck,
    judge_anchor,
    judge_paired,
    judge_relative,
)
from mlratchet.models.gates.checks.robustness import RobustnessCheck, judge_robustness
from mlratchet.models.gates.checks.slices import SliceCheck, judge_slice
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.gates.policy import GatePolicy, HoldoutPolicy
from mlratchet.models.gates.result import CheckResult, GateResult, Verdict, unknown
from mlratchet.models.gates.wear import error_divisor, judge_holdout
from mlratchet.models.metrics import metrics_for

JUDGES: Mapping[type[Any], Callable[[Any, Case], CheckResult]] = {
    AbsoluteCheck: judge_absolute,
    AnchorCheck: judge_anchor,
    ApprovalCheck: judge_approval,
    AttributionCheck: judge_attribution,
    BudgetCheck: judge_budget,
    CalibrationCheck: judge_calibration,
    ContractCheck: judge_contract,
    CustomCheck: judge_custom,
    DataCheck: judge_data,
    FairnessCheck: judge_fairness,
    LatencyCheck: judge_latency,
    MemoryCheck: judge_memory,
    NonInferiorityCheck: judge_paired,
    ParityCheck: judge_parity,
    RelativeCheck: judge_relative,
    RobustnessCheck: judge_robustness,
    SizeCheck: judge_size,
    SliceCheck: judge_slice,
    SuperiorityCheck: judge_paired,
}
ON_ROWS = (
    AbsoluteCheck,
    AnchorCheck,
    CalibrationCheck,
    FairnessCheck,
    NonInferiorityCheck,
    RelativeCheck,
    RobustnessCheck,
    SliceCheck,
    SuperiorityCheck,
)
"""Checks that look at the test rows, and wear them."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What holds for a whole gate."""

    fails_inconclusive: bool = False  # `on_inconclusive: fail`
    holdout: HoldoutPolicy | None = None
    policy_digest: str = ""
    now_s: float | None = None  # the clock, seconds since the epoch; None: the one of the evidence


PLAIN = Rules()


def judge_gate(
    policy: GatePolicy,
    gate: str,
    evidence: Evidence,
    *,
    first_model: bool,
    task: str,
    class_names: tuple[str, ...],
    now_s: float,
) -> GateResult:
    """Judge one gate of a policy, the shared policy's checks included."""
    return judge(
        gate,
        policy.checks(gate),
        evidence,
        first_model=first_model,
        task=task,
        class_names=class_names,
        rules=Rules(
            fails_inconclusive=policy.fails_inconclusive,
            holdout=policy.holdout_rule,
            policy_digest=policy.digest(),
            now_s=now_s,
        ),
    )


def judge(
    gate: str,
    checks: Sequence[Any],
    evidence: Evidence,
    *,
    first_model: bool,
    task: str,
    class_names: tuple[str, ...],
    rules: Rules = PLAIN,
) -> GateResult:
    """Judge the checks of one gate. `first_model`: there is no champion, the bootstrap rule applies."""
    wearing = any(isinstance(check, ON_ROWS) for check in checks)
    case = Case(
        gate=gate,
        evidence=evidence,
        metrics=metrics_for(task, class_names),
        task=task,
        class_names=class_names,
        first_model=first_model,
        now_s=rules.now_s,
        policy_digest=rules.policy_digest,
        divisor=error_divisor(rules.holdout, evidence.holdout_uses) if wearing else 1,
    )
    results = tuple(_result(check, case) for check in checks)
    worn = judge_holdout(rules.holdout, evidence.holdout_uses) if wearing else None
    results += (worn,) if worn is not None else ()
    return GateResult(
        gate=gate,
        verdict=verdict_over(results, fails_inconclusive=rules.fails_inconclusive),
        checks=results,
        holdout_uses=evidence.holdout_uses,
        bootstrap=first_model,
    )


def verdict_over(results: Sequence[CheckResult], *, fails_inconclusive: bool) -> Verdict:
    """`pass` only if every applicable check passes and there is at least one."""
    applicable = [result.verdict for result in results if result.verdict != "not_applicable"]
    if "fail" in applicable:
        return "fail"
    if applicable and all(verdict == "pass" for verdict in applicable):
        return "pass"
    return "fail" if fails_inconclusive else "inconclusive"


def _result(check: Any, case: Case) -> CheckResult:
    subject = str(getattr(check, "metric", getattr(check, "measure", check.kind)))
    judged = JUDGES.get(type(check))
    if judged is None:
        return unknown(check.kind, subject, "?", f"there is no judge for kind {check.kind!r}")
    try:
        return judged(check, case)
    except (ArithmeticError, ValueError, LookupError, TypeError) as error:
        # evidence that no metric can read (labels outside the classes, a wrong shape) must hold the model, not the run
        return unknown(check.kind, subject, "?", f"cannot be computed: {type(error).__name__}: {error}")
