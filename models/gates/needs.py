"""What a policy needs measured beyond the candidate's and the champion's rows: only that is computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.evaluation.perturb import check_perturbation, perturbation_name
from mlratchet.models.functions import load_function
from mlratchet.models.gates.policy import GatePolicy
from mlratchet.models.workloads.base import Workload


@dataclass(frozen=True, kw_only=True)
class Demands:
    """Of all gates together."""

    perturbations: Mapping[str, Any]  # canonical name -> specification
    versions: frozenset[int]  # named by number
    previous: bool  # the champion before this one is named
    first: bool  # the first champion is named
    columns: Mapping[str, str]  # that checks slice, cluster or stratify by -> where in the policy
    slices: tuple[tuple[str, tuple[str, ...], str | None], ...]  # (metric, columns, function) of slices and groups
    attributions: bool


def demands_of(policy: GatePolicy) -> Demands:
    """Collect them."""
    perturbations: dict[str, Any] = {}
    named: set[int | str] = set()
    columns: dict[str, str] = {}
    slices: dict[tuple[str, tuple[str, ...], str | None], None] = {}  # in the order of the policy, each once
    kinds: set[str] = set()
    for gate, number, check in policy.all_checks():
        kinds.add(check.kind)
        if check.kind == "robustness":
            perturbations[perturbation_name(check.perturbation)] = check.perturbation
        if check.kind in ("relative", "anchor"):
            named.add(check.version)
        if check.kind in ("slice", "fairness"):
            slices[check.metric, check.by, getattr(check, "function", None)] = None
        for column in (*getattr(check, "by", ()), getattr(check, "cluster", None), getattr(check, "stratify", None)):
            if column:
                columns.setdefault(column, f"gates.{gate}.{number}")
    return Demands(
        perturbations=perturbations,
        versions=frozenset(version for version in named if isinstance(version, int)),
        previous="previous" in named,
        first="first" in named,
        columns=columns,
        slices=tuple(slices),
        attributions="attribution" in kinds,
    )


def check_demands(policy: GatePolicy, workload: Workload) -> None:
    """Raises ``ConfigurationError`` for a perturbation that this input does not allow and for a missing function."""
    for gate, number, check in policy.all_checks():
        where = f"gates.{gate}.{number}"
        if check.kind == "robustness":
            check_perturbation(check.perturbation, workload.input_spec(), where)
            kind, objective = check.perturbation.kind, workload.objective
            if kind in objective.unfit_perturbations:
                why = objective.unfit_perturbations[kind]
                raise ConfigurationError(f"{where}: {kind} does not fit a {objective.name}: {why}; remove the check")
        function = getattr(check, "function", None)
        if function is not None:
            load_function(function, where)
