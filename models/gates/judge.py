"""Judge: a pure function of policy and evidence. It fails closed: what is missing, unknown or not a number
never passes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlratchet.models.functions import contained, raised
from mlratchet.models.gates.checks.base import Check
from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.checks.outside import is_foreign, is_outside, judge_outside
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.gates.policy import GatePolicy, HoldoutPolicy
from mlratchet.models.gates.result import CheckResult, GateResult, Verdict, unknown
from mlratchet.models.gates.wear import error_divisor, judge_holdout, wears_rows
from mlratchet.models.metrics import Metric
from mlratchet.models.metrics.outside import is_reference, with_references
from mlratchet.models.objectives.naming import metrics_for


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What holds for a whole gate."""

    fails_inconclusive: bool = False  # `on_inconclusive: fail`
    holdout: HoldoutPolicy | None = None
    policy_digest: str = ""
    now_s: float | None = None  # the clock, seconds since the epoch; None: the one of the evidence


PLAIN = Rules()
Elsewhere = Callable[[int], CheckResult]


def judge_gate(
    policy: GatePolicy,
    gate: str,
    evidence: Evidence,
    *,
    first_model: bool,
    task: str,
    class_names: tuple[str, ...],
    now_s: float,
    elsewhere: Elsewhere | None = None,
) -> GateResult:
    """Judge one gate of a policy, the shared policy's checks included. `elsewhere` as for `judge`."""
    return judge(
        gate,
        policy.checks(gate),
        evidence,
        first_model=first_model,
        task=task,
        class_names=class_names,
        rules=rules_of(policy, now_s),
        elsewhere=elsewhere,
    )


def rules_of(policy: GatePolicy, now_s: float) -> Rules:
    """What a policy says for whole gates."""
    return Rules(
        fails_inconclusive=policy.fails_inconclusive,
        holdout=policy.holdout_rule,
        policy_digest=policy.digest(),
        now_s=now_s,
    )


def judge(
    gate: str,
    checks: Sequence[Check],
    evidence: Evidence,
    *,
    first_model: bool,
    task: str,
    class_names: tuple[str, ...],
    rules: Rules = PLAIN,
    elsewhere: Elsewhere | None = None,
) -> GateResult:
    """Judge the checks of one gate. `first_model`: there is no champion, the bootstrap rule applies. `elsewhere` judges
    the check of a number in which a user's code has a part; None: so does this process."""
    foreign = [elsewhere is not None and is_foreign(check, task) for check in checks]
    here = [check for check, away in zip(checks, foreign, strict=True) if not away]
    case = case_of(
        gate,
        checks,
        evidence,
        first_model=first_model,
        task=task,
        class_names=class_names,
        rules=rules,
        metrics=metrics_of(here, task, class_names) if any(check.wears for check in here) else {},
    )
    results = tuple(
        elsewhere(number) if away and elsewhere is not None else result_in(check, case)
        for number, (check, away) in enumerate(zip(checks, foreign, strict=True))
    )
    wearing = wears_rows(gate, checks)
    worn = judge_holdout(rules.holdout, evidence.holdout_uses) if wearing else None
    results += (worn,) if worn is not None else ()
    return GateResult(
        gate=gate,
        verdict=verdict_over(results, fails_inconclusive=rules.fails_inconclusive),
        checks=results,
        holdout_uses=evidence.holdout_uses,
        bootstrap=first_model,
    )


def case_of(
    gate: str,
    checks: Sequence[Check],
    evidence: Evidence,
    *,
    first_model: bool,
    task: str,
    class_names: tuple[str, ...],
    rules: Rules,
    metrics: Mapping[str, Metric],
) -> Case:
    """What every check of the gate is judged in."""
    wearing = wears_rows(gate, checks)
    return Case(
        gate=gate,
        evidence=evidence,
        metrics=metrics,
        task=task,
        class_names=class_names,
        first_model=first_model,
        now_s=rules.now_s,
        policy_digest=rules.policy_digest,
        divisor=error_divisor(rules.holdout, evidence.holdout_uses) if wearing else 1,
    )


def metrics_of(checks: Iterable[Check], task: str, class_names: tuple[str, ...]) -> dict[str, Metric]:
    """Those of the task, and those of the user's that the checks name."""
    named = (name for check in checks for name in check.metric_names)
    return with_references(metrics_for(task, class_names), named, task)


def verdict_over(results: Sequence[CheckResult], *, fails_inconclusive: bool) -> Verdict:
    """`pass` only if every applicable check passes and there is at least one."""
    applicable = [result.verdict for result in results if result.verdict != "not_applicable"]
    if "fail" in applicable:
        return "fail"
    if applicable and all(verdict == "pass" for verdict in applicable):
        return "pass"
    return "fail" if fails_inconclusive else "inconclusive"


def result_in(check: Check, case: Case) -> CheckResult:
    """Of one check. Evidence that it cannot read, and whatever a user's code does wrong, is inconclusive."""
    if is_outside(check):
        return judge_outside(check, case)
    try:
        return contained(lambda: check.judge(case))
    except (ArithmeticError, ValueError, LookupError, TypeError) as error:
        # evidence that no metric can read (labels outside the classes, a wrong shape) must hold the model, not the run
        return unknown(check.kind, check.subject, "?", f"cannot be computed: {type(error).__name__}: {error}")
    except Exception as error:
        code = check.user_code or ((case.task,) if is_reference(case.task) else ())
        if not code:
            raise
        why = f"{', '.join(code)} raised {raised(error)}"
        return unknown(check.kind, check.subject, "?", why)
