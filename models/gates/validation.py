"""Validate a policy against the workload, before anything trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.functions import kept_out
from mlratchet.models.gates.checks.base import Check, PolicyContext
from mlratchet.models.gates.checks.outside import is_foreign, is_outside, validate_outside
from mlratchet.models.gates.checks.told import LOOK_S
from mlratchet.models.gates.names import GATES
from mlratchet.models.gates.policy import GatePolicy
from mlratchet.models.identity.declared import declared_by
from mlratchet.models.objectives.naming import metrics_for
from mlratchet.models.ports.children import children
from mlratchet.models.sources.record import InputSpec

VALIDATE = "mlratchet.models.gates.in_child:validate"


def validate_policy(
    policy: GatePolicy,
    task: str,
    class_names: tuple[str, ...],
    *,
    columns: Sequence[str] | None = None,
    input_spec: InputSpec | None = None,
) -> list[str]:
    """Warnings. Raises ``ConfigurationError``, a line per check, for what could never be meant or never pass.

    `columns`: those that a row carries; None: not known before the data is read. `input_spec`: of the workload; None
    leaves out whether perturbations fit it. Where users' modules are kept out, a child that imports them looks.
    """
    if not kept_out() or not any(is_foreign(check, task) for *_, check in policy.all_checks()):
        return validate_here(policy, task, class_names, columns=columns, input_spec=input_spec)
    told = children().call(
        VALIDATE,
        {
            "policy": policy.model_dump(mode="json", exclude={"policy"}),
            "task": task,
            "class_names": list(class_names),
            "columns": list(columns) if columns is not None else None,
            "input_spec": asdict(input_spec) if input_spec is not None else None,
        },
        time_limit_s=LOOK_S,
    )
    if told.get("problems") is not None:
        raise ConfigurationError(str(told["problems"]))
    return [str(warning) for warning in told["warnings"]]


def validate_here(
    policy: GatePolicy,
    task: str,
    class_names: tuple[str, ...],
    *,
    columns: Sequence[str] | None = None,
    input_spec: InputSpec | None = None,
) -> list[str]:
    """`validate_policy` by this process."""
    context = PolicyContext(
        metrics=metrics_for(task, class_names),
        task=task,
        class_names=class_names,
        columns=columns,
        input_spec=input_spec,
    )
    problems: list[str] = []
    for gate, number, check in policy.all_checks():
        try:
            _validate(check, context, f"gates.{gate}.{number}")
        except ConfigurationError as error:
            problems.append(str(error))
    problems += _unguarded(policy)
    if problems:
        raise ConfigurationError("\n".join(problems))
    return _warnings(policy)


def _validate(check: Check, context: PolicyContext, where: str) -> None:
    if is_outside(check):
        validate_outside(check, context, where)
    else:
        check.validate_in(context, where)
    for reference in check.user_code:
        declared_by(reference, where)  # a file that is not there


def _unguarded(policy: GatePolicy) -> list[str]:
    return [
        f"gates.{gate}: the first model would have no check (bootstrap: absolute_only); add an absolute check"
        for gate in GATES
        if all(check.compares for check in policy.checks(gate))
    ]


def _warnings(policy: GatePolicy) -> list[str]:
    paired = [check for check in policy.checks("champion") if check.paired]
    warnings = []
    if not paired:
        warnings.append("gates.champion compares nothing with the champion; add a non_inferiority check")
    held = {check.subject for gate in GATES for check in policy.checks(gate) if check.holds_level}
    warnings += [
        f"gates.champion: {check.subject} may fall by {check.allowed_loss:g} with every promotion and nothing stops "
        "the sum of it; add an anchor check or an absolute one"
        for check in paired
        if check.allowed_loss is not None and check.subject not in held
    ]
    return warnings
