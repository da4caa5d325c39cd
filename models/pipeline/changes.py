"""What a run may be told apart from its signed revision: a few settings of training, and what the file itself searches.

Whoever reaches Prefect's API can say these, and nothing else: neither gates nor data nor code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.nearest import nearest_hint
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.pipeline.spec import PipelineSpec


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Of one run."""

    named: Mapping[str, Any] = field(default_factory=dict)
    """Key of the pipeline file -> value, of those that the form names."""
    tuned: Mapping[str, Any] = field(default_factory=dict)
    """The same, of keys that the signed `tune.space` holds."""
    processes: int | None = None
    """At most as many as are declared."""


def changed_pipeline(spec: PipelineSpec, changes: Changes) -> PipelineSpec:
    """The pipeline of this run. Raises ``ConfigurationError`` for what the signed file does not allow."""
    values = dict(changes.named)
    declared = spec.train.processes
    if changes.processes is not None:
        if isinstance(declared, int) and changes.processes > declared:
            raise ConfigurationError(
                f"processes: got {changes.processes}, but pipeline {spec.name} declares {declared}; "
                f"`ratchet run {spec.name} --set train.processes={changes.processes}` asks for more"
            )
        values["train.processes"] = changes.processes
    axes = spec.tune.axes() if spec.tune is not None else []
    for key, value in changes.tuned.items():
        own = [axis for axis in axes if axis.key == key]
        if not own:
            hint = nearest_hint(key, [axis.key for axis in axes])
            raise ConfigurationError(
                f"tuned.{key[:100]}: is not in tune.space of pipeline {spec.name}; {hint}; "
                f"`ratchet run {spec.name} --set` changes other keys"
            )
        if not any(axis.range.holds(value) for axis in own):
            raise ConfigurationError(
                f"tuned.{key}: {value!r} is not in tune.space of pipeline {spec.name}; "
                f"`ratchet run {spec.name} --set` goes beyond it"
            )
        values[key] = value
    if not values:
        return spec
    text = json.dumps(spec.model_dump(mode="json"))
    assignments = [f"{key}={json.dumps(value)}" for key, value in values.items()]
    return parse_pipeline(text, where=f"pipeline {spec.name}", overrides=assignments, published=True)
