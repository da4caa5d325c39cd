"""Validate a policy against the workload, before anything trains."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Sequence
from typing import Any

from mlratchet.models.data.quality import MEASURES
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.evaluation.slices import require_columns
from mlratchet.models.functions import load_function
from mlratchet.models.gates.checks.absolute import AbsoluteCheck, CalibrationCheck
from mlratchet.models.gates.checks.attribution import AttributionCheck
from mlratchet.models.gates.checks.custom import CustomCheck
from mlratchet.models.gates.checks.data import DataCheck
from mlratchet.models.gates.checks.paired import AnchorCheck, NonInferiorityCheck, RelativeCheck, SuperiorityCheck
from mlratchet.models.gates.checks.slices import SliceCheck
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.gates.policy import GATES, GatePolicy
from mlratchet.models.metrics import Metric, metrics_for

COMPARING = (AttributionCheck, NonInferiorityCheck, RelativeCheck, SuperiorityCheck)
COMPARING_MEASURES = {"label_prior_shift", "relabelled_fraction", "volume_ratio"}
MEASURES_OF_CLASSES = {"class_count", "smallest_class_rows", "label_prior_shift"}
MARGINS = ("margin", "maximum_loss", "maximum_drop", "maximum_gap")


def validate_policy(
    policy: GatePolicy, task: str, class_names: tuple[str, ...], *, columns: Sequence[str] | None = None
) -> list[str]:
    """Warnings. Raises ``ConfigurationError``, a line per check, for what could never be meant or never pass.

    `columns`: those that a row carries; None: not known before the data is read.
    """
    metrics = metrics_for(task, class_names)
    problems: list[str] = []
    for gate, number, check in policy.all_checks():
        where = f"gates.{gate}.{number}"
        try:
            _check_metric(check, metrics, where)
            if getattr(check, "measure", None) in MEASURES_OF_CLASSES and not class_names:
                raise ConfigurationError(f"{where}: {check.measure} is never measured: a {task} has no classes")
            _check_functions(check, where)
            if columns is not None:
                require_columns(getattr(check, "by", ()), columns, where)
        except ConfigurationError as error:
            problems.append(str(error))
    problems += [
        f"gates.{gate}: the first model would have no check (bootstrap: absolute_only); add an absolute check"
        for gate in GATES
        if all(map(compares, policy.checks(gate)))
    ]
    if problems:
        raise ConfigurationError("\n".join(problems))
    return _warnings(policy)


def compares(check: Any) -> bool:
    """Whether the check needs another version, so that it does not apply to the first model."""
    return (
        isinstance(check, COMPARING)
        or (isinstance(check, AnchorCheck) and check.version == "first")
        or (isinstance(check, SliceCheck) and check.margin is not None)
        or (isinstance(check, DataCheck) and check.measure in COMPARING_MEASURES)
    )


def _warnings(policy: GatePolicy) -> list[str]:
    champion = policy.checks("champion")
    paired = [c for c in champion if isinstance(c, NonInferiorityCheck | SuperiorityCheck)]
    warnings = []
    if not paired:
        warnings.append("gates.champion compares nothing with the champion; add a non_inferiority check")
    anchored = {c.metric for gate in GATES for c in policy.checks(gate) if isinstance(c, AnchorCheck)}
    bounded = {c.metric for gate in GATES for c in policy.checks(gate) if isinstance(c, AbsoluteCheck)}
    warnings += [
        f"gates.champion: {check.metric} may fall by {check.margin:g} with every promotion and nothing stops the sum "
        "of it; add an anchor check or an absolute one"
        for check in paired
        if isinstance(check, NonInferiorityCheck) and check.metric not in anchored | bounded
    ]
    return warnings


def unknown_name(where: str, kind: str, name: str, known: Sequence[str]) -> ConfigurationError:
    """With the nearest name, or all of them."""
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known)}"
    return ConfigurationError(f"{where}: unknown {kind} {name!r}; {hint}")


def _check_metric(check: Any, metrics: dict[str, Metric], where: str) -> None:
    if isinstance(check, DataCheck):
        if check.measure not in MEASURES:
            raise unknown_name(where, "measure", check.measure, list(MEASURES))
        return
    name = check.measure if isinstance(check, CalibrationCheck) else getattr(check, "metric", None)
    if name is None:
        return
    if name not in metrics:
        raise unknown_name(where, "metric", name, list(metrics))
    metric = metrics[name]
    _check_direction(check, metric, where)
    low, high = metric.span
    for field in ("minimum", "maximum"):
        bound = getattr(check, field, None)
        if bound is not None and not low <= bound <= high:
            raise ConfigurationError(f"{where}: {field} {bound:g} lies outside {name}, which is {low:g} to {high:g}")
    for field in MARGINS:
        margin = getattr(check, field, None)
        if margin is not None and math.isfinite(high - low) and margin >= high - low:
            raise ConfigurationError(
                f"{where}: {field} {margin:g} always holds: {name} is {low:g} to {high:g} ({metric.unit})"
            )


def _check_direction(check: Any, metric: Metric, where: str) -> None:
    if not isinstance(check, AbsoluteCheck | CalibrationCheck | SliceCheck):
        return
    given = "minimum" if getattr(check, "minimum", None) is not None else "maximum"
    wanted = "minimum" if metric.direction == "higher" else "maximum"
    if getattr(check, given) is not None and given != wanted:
        raise ConfigurationError(
            f"{where}: direction against the metric: {metric.name} is better when {metric.direction}, "
            f"got {given}, expected {wanted}"
        )


def _check_functions(check: Any, where: str) -> None:
    function = getattr(check, "function", None)
    if function is None:
        return
    found = load_function(function, where)
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):
        return  # a builtin tells no signature
    if not isinstance(check, CustomCheck):
        return
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    named = [name for name, one in signature.parameters.items() if one.kind not in variable]
    takes_any = any(one.kind is one.VAR_KEYWORD for one in signature.parameters.values())
    for name in check.parameters:
        if name not in named[1:] and not takes_any:
            raise unknown_name(where, f"parameter of {function}", name, named[1:] or ["none"])
    try:
        signature.bind(Evidence(), **check.parameters)
    except TypeError as error:
        raise ConfigurationError(f"{where}: {function} cannot be called with these parameters: {error}") from error
