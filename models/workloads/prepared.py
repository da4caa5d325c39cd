"""Fit a preparation on training rows, and apply it, in a child: it decodes what others delivered, and may be a user's.

A child is lent the shards of examples and hands back arrays; whoever asked holds them against what it was told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from mlratchet.models.config import WorkloadRef
from mlratchet.models.errors import DataError
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.ports.children import ForeignCodeError, Rights, Workplace, children
from mlratchet.models.ports.memory import ObjectsInMemory
from mlratchet.models.ports.storage import ObjectNotFound
from mlratchet.models.sources.record import ExampleSpec
from mlratchet.models.sources.stored_examples import documents_of
from mlratchet.models.tensors.named import Inputs
from safetensors import SafetensorError
from safetensors.numpy import load, save

if TYPE_CHECKING:
    import pyarrow as pa

FIT, APPLY = (f"{__name__}:{name}" for name in ("fit", "apply"))
LENT = Rights(read=("in/",), create=("out/",))
HOURS_6_S = 6 * 3600.0

Shards = Mapping[str, Sequence[Inputs]]  # by side, in order


def fit_away(ref: WorkloadRef, shards: Shards) -> tuple[bytes, dict[str, list[Inputs]]]:
    """What the preparation was fitted to, and every shard prepared. Raises ``DataError`` for rows that it cannot be
    fitted to, ``ForeignCodeError`` for an answer that is none."""
    from mlratchet.models.preparation.base import State

    lent = ObjectsInMemory("preparation")
    names = {side: [_lend(lent, f"{side}-{at}", one) for at, one in enumerate(held)] for side, held in shards.items()}
    told = children().call(
        FIT, {**ref.model_dump(mode="json"), "shards": names}, store=lent, rights=LENT, time_limit_s=HOURS_6_S
    )
    try:
        fitted = lent.get(f"out/{told['fitted']}")
        State.from_bytes(fitted)
        found = {side: [_handed_back(lent, name) for name in told["inputs"][side]] for side in shards}
    except (KeyError, TypeError, ObjectNotFound, DataError) as error:
        raise ForeignCodeError(f"preparation: its answer is none: {error}"[:300]) from error
    for side, held in shards.items():
        if [len(one) for one in found[side]] != [len(one) for one in held]:
            raise ForeignCodeError(f"preparation: other numbers of rows than the {side} side has")
    return fitted, found


def prepare_away(about: ExampleSpec, examples: Inputs) -> Inputs:
    """Stored examples as one version prepares them. Raises ``DataError`` for one that it cannot prepare."""
    lent = ObjectsInMemory("preparation")
    request = {"about": asdict(about), "shard": _lend(lent, "rows", examples)}
    told = children().call(APPLY, request, store=lent, rights=LENT, time_limit_s=HOURS_6_S)
    found = _handed_back(lent, str(told))
    if len(found) != len(examples):
        raise ForeignCodeError(f"preparation: got {len(found)} rows, expected {len(examples)}")
    return found


def _lend(lent: ObjectsInMemory, name: str, one: Inputs) -> str:
    lent.put(f"in/{name}", save({key: np.ascontiguousarray(array) for key, array in one.arrays().items()}))
    return name


def _handed_back(lent: ObjectsInMemory, name: str) -> Inputs:
    try:
        return Inputs.from_arrays(load(lent.get(f"out/{name}")))
    except (SafetensorError, ValueError, KeyError, ObjectNotFound) as error:
        raise ForeignCodeError(f"preparation: no tensors: {error}"[:300]) from error


def fit(request: Mapping[str, Any], workplace: Workplace) -> dict[str, Any]:
    """In the child."""
    from mlratchet.models.workloads.examples import table_of_examples
    from mlratchet.models.workloads.fields import SchemaWorkload
    from mlratchet.models.workloads.loading import load_workload

    workload = load_workload(request["use"], dict(request["parameters"]))
    assert isinstance(workload, SchemaWorkload)

    def tables(side: str) -> Iterator[pa.Table]:
        for name in request["shards"][side]:
            yield table_of_examples(documents_of(_examples(workplace, name)), workload.schema)

    state = workload.plan.fit(lambda: tables("train"))
    return {
        "fitted": _hand_back(workplace, state.to_bytes()),
        "inputs": {
            side: [_hand_back_inputs(workplace, workload.plan.apply(table, state)) for table in tables(side)]
            for side in request["shards"]
        },
    }


def apply(request: Mapping[str, Any], workplace: Workplace) -> str:
    """In the child."""
    from mlratchet.models.workloads.examples import Preparer

    preparer = Preparer(ExampleSpec(**request["about"]))
    return _hand_back_inputs(workplace, preparer.prepared_examples(_examples(workplace, request["shard"])))


def _examples(workplace: Workplace, name: str) -> Inputs:
    return Inputs.from_arrays(load(workplace.objects.get(f"in/{name}")))


def _hand_back_inputs(workplace: Workplace, inputs: Inputs) -> str:
    return _hand_back(workplace, save({name: np.ascontiguousarray(array) for name, array in inputs.arrays().items()}))


def _hand_back(workplace: Workplace, data: bytes) -> str:
    name = digest_bytes(data)
    workplace.objects.create(f"out/{name}", data)
    return name
