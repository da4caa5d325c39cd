"""What a policy needs measured beyond the candidate's and the champion's rows: only that is computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlratchet.models.evaluation.baselines import BaselineModel
from mlratchet.models.evaluation.perturb import PerturbationSpec, perturbation_name
from mlratchet.models.gates.policy import GatePolicy


@dataclass(frozen=True, kw_only=True)
class Demands:
    """Of all gates together."""

    perturbations: Mapping[str, PerturbationSpec]  # canonical name -> specification
    versions: frozenset[int]  # named by number
    previous: bool  # the champion before this one is named
    first: bool  # the first champion is named
    columns: Mapping[str, str]  # that checks slice by -> where in the policy
    slices: tuple[tuple[str, tuple[str, ...], str | None], ...]  # (metric, columns, function) of slices and groups
    attributions: bool
    baselines: tuple[BaselineModel, ...]  # each once
    metrics: tuple[str, ...]  # that checks read, each once
    measures: frozenset[str]  # of the delivery, that are taken on demand


def demands_of(policy: GatePolicy) -> Demands:
    """What its checks need, together."""
    asked = [(f"gates.{gate}.{number}", check.needs()) for gate, number, check in policy.all_checks()]
    named = {version for _, needs in asked for version in needs.versions}
    columns: dict[str, str] = {}
    for where, needs in asked:
        for column in needs.columns:
            columns.setdefault(column, where)
    return Demands(
        perturbations={perturbation_name(one): one for _, needs in asked for one in needs.perturbations},
        versions=frozenset(version for version in named if isinstance(version, int)),
        previous="previous" in named,
        first="first" in named,
        columns=columns,
        slices=tuple(dict.fromkeys(one for _, needs in asked for one in needs.slices)),  # in the policy's order
        attributions=any(needs.attributions for _, needs in asked),
        baselines=tuple(dict.fromkeys(one for _, needs in asked for one in needs.baselines)),
        metrics=tuple(dict.fromkeys(name for *_, check in policy.all_checks() for name in check.metric_names)),
        measures=frozenset(name for _, needs in asked for name in needs.measures),
    )
