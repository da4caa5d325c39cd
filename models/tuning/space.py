"""The search space against the pipeline it belongs to: refused, with the nearest name, before anything trains."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, get_args

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.metrics import Metric
from mlratchet.models.nearest import nearest_hint
from mlratchet.models.objectives.naming import metrics_for
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.pipeline.tune import Choices, Dimension, SearchAxis, TuneConfig
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.fitting import check_fits
from mlratchet.models.workloads.base import Workload
from mlratchet.models.workloads.loading import load_workload, workload_parameters
from pydantic import BaseModel

Values = dict[str, Any]  # key of the pipeline file -> value
NOT_SEARCHED = {
    "train.seed": "the best of several seeds is luck, not a better configuration",
    "train.warm_start": "tune.warm_start says where every trial begins",
    "train.initial_weights": "tune.warm_start says where every trial begins",
    "train.device": "it says where to train, not what",
    "train.threads_per_process": "it says how to train, not what",
    "train.mode": "it says how to train, not what",
    "train.shuffle_window": "it says how much of the data fits, not what to learn",
}
WORKLOAD = "workload.parameters."


def searchable(spec: PipelineSpec) -> list[str]:
    """Every key that a space may name."""
    found = [key for key in _leaves(TrainConfig, "train") if key not in NOT_SEARCHED]
    return [*found, *(f"{WORKLOAD}{name}" for name in _parameters(spec))]


def _leaves(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if model is TrainConfig and name in TrainConfig.EXECUTION:
            continue
        inner = [a for a in (field.annotation, *get_args(field.annotation)) if isinstance(a, type)]
        nested = next((a for a in inner if issubclass(a, BaseModel)), None)
        if nested is not None:
            yield from _leaves(nested, f"{prefix}.{name}")
        else:
            yield f"{prefix}.{name}"


def _parameters(spec: PipelineSpec) -> dict[str, Any]:
    """Name -> default, None without one."""
    return workload_parameters(spec.workload.use)


def require_tune(spec: PipelineSpec) -> TuneConfig:
    """The section. Raises ``ConfigurationError`` where there is none."""
    if spec.tune is None:
        raise ConfigurationError(
            f"pipeline {spec.name} declares no search space; add a `tune:` section with metric and space "
            "(docs/tuning.md shows one)"
        )
    return spec.tune


def check_tune(spec: PipelineSpec, workload: Workload) -> list[str]:
    """What a person should know of the section. Raises ``ConfigurationError`` for what could never be searched."""
    tune = require_tune(spec)
    metric = objective(spec, workload)
    if spec.train.mode == "fast" and spec.train.nodes > 1:
        raise ConfigurationError(
            f"train.nodes {spec.train.nodes}: a trial runs on one machine, and in mode fast that is another training; "
            "write train.mode: exact, or tune with --set train.nodes=1"
        )
    if "_class_" in metric.name and tune.pruning.kind != "none":
        raise ConfigurationError(
            f"tune.metric: {metric.name} is not measured after every epoch, so nothing can be pruned by it; "
            "write tune.pruning: {kind: none}, or take the metric over all classes"
        )
    known = searchable(spec)
    current = baseline(spec)
    for axis in tune.axes():
        _check_key(axis.key, known)
        if axis.applies(current) and not axis.range.holds(current[axis.key]):
            raise ConfigurationError(
                f"tune.space.{axis.name}: the file's own value {current[axis.key]!r} is not in the space "
                f"({_words(axis.range)}); trial 0 is the configuration of the file, so let the space contain it"
            )
        for value in ends(axis.range):
            _try(spec, workload, axis, value)
    return _notes(tune)


def _notes(tune: TuneConfig) -> list[str]:
    notes = []
    if tune.sampler == "tpe" and tune.trials <= tune.startup_trials + 1:
        notes.append(
            f"tune.trials {tune.trials} are all drawn at random: tpe begins after {tune.startup_trials} "
            "(tune.startup_trials)"
        )
    if all(axis.range.grid() is not None for axis in tune.axes()):
        points = sum(1 for _ in islice(tune.points(), tune.trials))
        if points < tune.trials:
            notes.append(f"tune.space has {points} points: the study ends before its {tune.trials} trials")
    return notes


def objective(spec: PipelineSpec, workload: Workload) -> Metric:
    """The metric that decides. Raises ``ConfigurationError`` with the nearest name."""
    known = metrics_for(workload.task, workload.class_names())
    wanted = require_tune(spec).metric
    if wanted not in known:
        raise ConfigurationError(f"tune.metric: unknown metric {wanted!r}; {nearest_hint(wanted, list(known))}")
    return known[wanted]


def _check_key(key: str, known: list[str]) -> None:
    if key in known:
        return
    if key in NOT_SEARCHED:
        raise ConfigurationError(f"tune.space: {key} is not searched: {NOT_SEARCHED[key]}; remove it")
    if key.split(".")[0] == "train" and key.split(".")[1:2] and key.split(".")[1] in TrainConfig.EXECUTION:
        raise ConfigurationError(
            f"tune.space: {key} does not change the weights, so there is nothing to search; remove it"
        )
    where = "train.* and workload.parameters.* can be searched"
    raise ConfigurationError(f"tune.space: unknown key {key!r}; {nearest_hint(key, known)} ({where})")


def _words(dimension: Dimension) -> str:
    if isinstance(dimension, Choices):
        return ", ".join(str(choice) for choice in dimension.choices)
    step = f" in steps of {dimension.step}" if dimension.step not in (None, 1) else ""
    return f"{dimension.low} to {dimension.high}{step}"


def ends(dimension: Dimension) -> list[Any]:
    """The values that could be refused: both ends of a range, every choice."""
    return list(dimension.choices) if isinstance(dimension, Choices) else [dimension.low, dimension.high]


def _try(spec: PipelineSpec, workload: Workload, axis: SearchAxis, value: Any) -> None:
    beside = dict([axis.of]) if axis.of is not None else {}
    try:
        trial_spec(spec, workload, {**beside, axis.key: value})
    except ConfigurationError as error:
        raise ConfigurationError(f"tune.space.{axis.name}: value {value!r} is refused: {error}") from error


def baseline(spec: PipelineSpec) -> Values:
    """What the file says now for each key of the space, defaults included; of models those of its own."""
    document = spec.model_dump(mode="json")
    parameters = _parameters(spec)
    found: Values = {}
    known = searchable(spec)
    for axis in require_tune(spec).axes():
        key = axis.key
        _check_key(key, known)
        if not axis.applies(found):
            continue
        name = key.removeprefix(WORKLOAD)
        if key.startswith(WORKLOAD) and name not in spec.workload.parameters:
            found[key] = parameters[name]
            continue
        node: Any = document
        for part in key.split("."):
            if not isinstance(node, dict):
                raise ConfigurationError(
                    f"tune.space.{key}: {key.rpartition('.')[0]} is not set in the file; write it there first"
                )
            node = node.get(part)
        found[key] = _default_optimizer(key, node, spec)
    return found


def _default_optimizer(key: str, value: Any, spec: PipelineSpec) -> Any:
    """An optimizer that is not named is adamw."""
    unnamed = key == "train.optimizer.name" and value is None and spec.train.optimizer.factory is None
    return "adamw" if unnamed else value


def overrides(values: Mapping[str, Any]) -> tuple[str, ...]:
    """As the ``a.b=value`` assignments of `ratchet run --set`, in the order of the keys."""
    return tuple(f"{key}={json.dumps(values[key])}" for key in sorted(values))


def trial_spec(spec: PipelineSpec, workload: Workload, values: Mapping[str, Any]) -> PipelineSpec:
    """The pipeline with `values`, checked whole.

    Raises ``ConfigurationError`` when they do not fit together or would change what a row is.
    """
    document = json.dumps(spec.model_dump(mode="json"))
    made = parse_pipeline(document, where=f"pipeline {spec.name}", overrides=overrides(values), published=True)
    theirs = load_workload(made.workload.use, dict(made.workload.parameters))
    check_fits(made.train, theirs)
    same = (theirs.objective.reference, theirs.input_spec(), theirs.class_names()) == (
        workload.objective.reference, workload.input_spec(), workload.class_names(),
    )  # fmt: skip
    if not same:
        raise ConfigurationError("it changes what a row is, and the rows are prepared once for all trials")
    return made
