"""Fit a preparation on training rows, and apply it, in a child: it decodes what others delivered, and may be a user's.

A child is lent the shards of examples and hands back arrays; whoever asked holds them against what it was told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from mlratchet.models.config import WorkloadRef
from mlratchet.models.errors import DataError
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.ports.children import ForeignCodeError, Rights, Workplace, children
from mlratchet.models.ports.memory import ObjectsInMemory, ObjectsOnDisk
from mlratchet.models.ports.storage import ObjectNotFound
from mlratchet.models.sources.record import ExampleSpec
from mlratchet.models.tensors.named import Inputs
from safetensors import SafetensorError
from safetensors.numpy import load, save

if TYPE_CHECKING:
    import pyarrow as pa

FIT, APPLY = (f"{__name__}:{name}" for name in ("fit", "apply"))
LENT = Rights(read=("in/",), create=("out/",))
HOURS_6_S = 6 * 3600.0

SLICE_ROWS = 8192  # that are Python objects at once
Load = Callable[[], Inputs]  # reads the examples of one shard
Shards = Mapping[str, Sequence[Load]]  # by side, in order


@dataclass(frozen=True, kw_only=True)
class Known:
    """What was prepared before, by a preparation that was fitted to the same: it is not prepared again."""

    fitted_sha256: str = ""  # what it was fitted to
    shards: frozenset[tuple[str, int]] = frozenset()  # (side, number)


NOTHING_KNOWN = Known()


class _Lent(ObjectsOnDisk):
    """Shards of examples, each read when it is asked for, and what is handed back."""

    def __init__(self, shards: Mapping[str, Load]) -> None:
        super().__init__("preparation")
        self._shards = {f"in/{name}": load for name, load in shards.items()}

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        """See the port."""
        if key in self._shards:
            return save({n: np.ascontiguousarray(one) for n, one in self._shards[key]().arrays().items()})
        return super().get(key, sha256=sha256)


class Prepared(Sequence[Inputs]):
    """The shards of a side as tensors, each read when it is looked at. Raises ``ForeignCodeError`` for one that is
    none."""

    def __init__(self, lent: ObjectsInMemory, names: Sequence[str | None], side: str) -> None:
        """`names`: None of a shard that was known."""
        self._lent, self._names, self._side = lent, names, side

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, at: int) -> Inputs: ...
    @overload
    def __getitem__(self, at: slice) -> list[Inputs]: ...
    def __getitem__(self, at: int | slice) -> Inputs | list[Inputs]:
        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(len(self)))]
        name = self._names[at]
        if name is None:
            raise ForeignCodeError(f"preparation: shard {at} of the {self._side} side was not prepared")
        return _handed_back(self._lent, name)

    def of(self, at: int, rows: int) -> Inputs:
        """Of the shard `at`, which has so many rows."""
        found = self[at]
        if len(found) != rows:
            raise ForeignCodeError(f"preparation: {len(found)} rows of the {self._side} side, expected {rows}")
        return found


def fit_away(ref: WorkloadRef, shards: Shards, known: Known = NOTHING_KNOWN) -> tuple[bytes, dict[str, Prepared]]:
    """What the preparation was fitted to, and every shard prepared but those that are known. Raises ``DataError`` for
    rows that it cannot be fitted to, ``ForeignCodeError`` for an answer that is none."""
    from mlratchet.models.preparation.base import State

    names = {side: [f"{side}-{at}" for at in range(len(loads))] for side, loads in shards.items()}
    lent = _Lent({name: load for side, loads in shards.items() for name, load in zip(names[side], loads, strict=True)})
    skipped = [names[side][at] for side, at in sorted(known.shards)]
    request = {**ref.model_dump(mode="json"), "shards": names, "known": known.fitted_sha256, "skipped": skipped}
    told = children().call(FIT, request, store=lent, rights=LENT, time_limit_s=HOURS_6_S)
    try:
        fitted = lent.get(f"out/{told['fitted']}")
        State.from_bytes(fitted)
        inputs = {side: [None if name is None else str(name) for name in told["inputs"][side]] for side in shards}
        found = {side: Prepared(lent, inputs[side], side) for side in shards}
    except (KeyError, TypeError, ObjectNotFound, DataError) as error:
        raise ForeignCodeError(f"preparation: its answer is none: {error}"[:300]) from error
    for side, loads in shards.items():
        if len(found[side]) != len(loads):
            raise ForeignCodeError(f"preparation: other numbers of shards than the {side} side has")
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
    from mlratchet.models.workloads.examples import table_of_stored
    from mlratchet.models.workloads.fields import SchemaWorkload
    from mlratchet.models.workloads.loading import load_workload

    workload = load_workload(request["use"], dict(request["parameters"]))
    assert isinstance(workload, SchemaWorkload)

    def tables(name: str) -> Iterator[pa.Table]:
        examples = _examples(workplace, name)
        for at in range(0, len(examples), SLICE_ROWS):
            yield table_of_stored(examples.rows(slice(at, at + SLICE_ROWS)), workload.schema)

    shards = request["shards"]
    state = workload.plan.fit(lambda: (table for name in shards["train"] for table in tables(name)))

    def prepared(name: str) -> Inputs:
        return Inputs.concat([workload.plan.apply(table, state) for table in tables(name)])

    fitted = _hand_back(workplace, state.to_bytes())
    skipped = set(request["skipped"]) if fitted == request["known"] else ()

    def told(name: str) -> str | None:
        return None if name in skipped else _hand_back_inputs(workplace, prepared(name))

    return {"fitted": fitted, "inputs": {side: [told(name) for name in shards[side]] for side in shards}}


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
