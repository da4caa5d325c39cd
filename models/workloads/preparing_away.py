"""A version's examples prepared in a child: for a process that answers with a user's own preparation."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from mlratchet.models.identity.canonical import digest
from mlratchet.models.ports.children import Children, ForeignCodeError, Workplace
from mlratchet.models.schema.fields import Schema
from mlratchet.models.schema.reject import Reject
from mlratchet.models.sources.record import ExampleSpec
from mlratchet.models.tensors.named import Inputs, misfit
from mlratchet.models.tensors.spec import TensorSpec
from mlratchet.models.workloads.examples import Preparer
from safetensors import SafetensorError
from safetensors.numpy import load, save

PREPARE = f"{__name__}:prepare"
LIMIT_S = 30.0
UNKNOWN = "unknown"  # answered by a child that was not told yet how this version prepares


class PreparerAway:
    """Every row is prepared in a child. `through`: who makes the calls, in one process for this version alone."""

    def __init__(self, about: ExampleSpec, tensors: Sequence[TensorSpec], through: Children) -> None:
        self.schema = Schema.model_validate_json(about.schema)
        self._about, self._tensors, self._through = asdict(about), tuple(tensors), through
        self._name = digest(self._about)

    def prepared(self, table: pa.Table) -> Inputs:
        """Of typed examples. Raises ``DataError`` for one that cannot be prepared, ``ForeignCodeError`` for an answer
        that is none."""
        told = self._ask({"rows": base64.b64encode(_table_bytes(table)).decode()})
        try:
            found = Inputs.from_arrays(load(base64.b64decode(told["tensors"])))
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise ForeignCodeError(f"preparation: no tensors: {error}"[:300]) from error
        unfit = misfit(found, self._tensors)
        if unfit or len(found) != table.num_rows:
            raise ForeignCodeError(f"preparation: {unfit or f'got {len(found)} rows, expected {table.num_rows}'}")
        return found

    def refused(self, table: pa.Table) -> list[Reject]:  # noqa: ARG002 - the child's error says which
        """None is told beside the error."""
        return []

    def _ask(self, rows: Mapping[str, Any]) -> Any:
        """What the version is prepared by is sent once to each child: it may be large."""
        request = {"name": self._name, **rows}
        told = self._through.call(PREPARE, request, time_limit_s=LIMIT_S)
        if told == UNKNOWN:
            told = self._through.call(PREPARE, {**request, "about": self._about}, time_limit_s=LIMIT_S)
        return told


_known: dict[str, Preparer] = {}


def prepare(request: Mapping[str, Any], _workplace: Workplace) -> Any:
    """In the child."""
    name = str(request["name"])
    if "about" in request:
        _known[name] = Preparer(ExampleSpec(**request["about"]))
    if name not in _known:
        return UNKNOWN
    with pa.ipc.open_stream(base64.b64decode(request["rows"])) as stream:
        inputs = _known[name].prepared(stream.read_all())
    data = save({key: np.ascontiguousarray(one) for key, one in inputs.arrays().items()})
    return {"tensors": base64.b64encode(data).decode()}


def _table_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


@lru_cache(maxsize=8)
def has_own(about: ExampleSpec) -> bool:
    """Whether a version is prepared by a class of the user's."""
    from mlratchet.models.preparation.section import PreparationSection

    return bool(PreparationSection.model_validate_json(about.preparation).own)
