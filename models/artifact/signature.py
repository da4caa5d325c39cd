"""The signature: what the exported program takes and gives, enough to serve it without the user's code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.nearest import nearest_hint
from mlratchet.models.sources.record import Decoding, ExampleSpec
from mlratchet.models.tensors.spec import TensorSpec
from mlratchet.models.workloads.base import InputSpec, Workload


@dataclass(frozen=True, kw_only=True)
class Signature:
    """Input, task and classes."""

    task: str  # reference of the objective
    input: InputSpec
    classes: tuple[str, ...]
    ranges: tuple[tuple[str, float, float], ...] = ()
    """Column of a table, lowest and highest value that a request may hold."""

    def to_json(self) -> str:
        """As written to `signature.json`."""
        document = asdict(self)
        named = {name: document["input"].pop(name) for name in ("tensors", "example")}
        return json.dumps(document | {name: one for name, one in named.items() if one}, indent=2, sort_keys=True)

    @property
    def tensors(self) -> tuple[TensorSpec, ...]:
        """What a row is made of, by name; one tensor without a name is `x`."""
        return self.input.specs

    @classmethod
    def from_json(cls, text: str) -> Signature:
        """Read back."""
        document = json.loads(text)
        spec = document["input"]
        span, decoding = spec["value_range"], spec.get("decoding")
        return cls(
            task=document["task"],
            classes=tuple(document["classes"]),
            ranges=tuple((str(name), float(low), float(high)) for name, low, high in document.get("ranges", ())),
            input=InputSpec(
                kind=spec["kind"],
                shape=tuple(spec["shape"]),
                dtype=spec["dtype"],
                columns=tuple(spec["columns"]),
                value_range=(span[0], span[1]) if span is not None else None,
                defaults=tuple((str(name), float(value)) for name, value in spec.get("defaults", ())),
                decoding=_decoding_of(decoding) if decoding is not None else None,
                tensors=tuple(_tensor_of(one) for one in document.get("tensors", ())),
                example=ExampleSpec(**document["example"]) if document.get("example") else None,
            ),
        )


def _tensor_of(document: Mapping[str, Any]) -> TensorSpec:
    span = document["value_range"]
    return TensorSpec(
        name=str(document["name"]),
        shape=tuple(int(size) for size in document["shape"]),
        dtype=str(document["dtype"]),
        ragged=bool(document["ragged"]),
        value_range=(float(span[0]), float(span[1])) if span is not None else None,
    )


def _decoding_of(document: Mapping[str, Any]) -> Decoding:
    span = document["value_range"]
    return Decoding(
        background=str(document["background"]),
        value_range=(float(span[0]), float(span[1])) if span is not None else None,
        max_pixels=int(document["max_pixels"]),
    )


def signature_of(
    workload: Workload,
    defaults: Mapping[str, float] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> Signature:
    """The signature of a workload's model. `defaults`: column -> what a request that lacks it means; `ranges`: column
    -> lowest and highest value of a request. Raises ``ConfigurationError`` for a range of no column."""
    spec = replace(workload.input_spec(), defaults=tuple(sorted((defaults or {}).items())))
    held = tuple((name, low, high) for name, (low, high) in sorted((ranges or {}).items()))
    strange = [name for name, _, _ in held if name not in spec.columns]
    if strange:
        raise ConfigurationError(
            f"serving.ranges: no column {strange[0]!r} in {', '.join(spec.columns) or 'this kind of input'}; "
            f"{nearest_hint(strange[0], sorted(spec.columns))}"
        )
    return Signature(task=workload.objective.reference, input=spec, classes=workload.class_names(), ranges=held)
