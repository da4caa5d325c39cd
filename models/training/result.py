"""The result of a training, published once per attempt."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from mlratchet.models.config import StrictModel
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.signed_records import ForeignRecord, body_of
from mlratchet.models.ports.storage import ObjectExists, ObjectStore
from pydantic import Field


class TrainResult(StrictModel):
    """Where the weights are and how they came to be."""

    weights_key: str
    """Empty for a trial of a search: its weights are not kept."""
    weights_sha256: str
    history: tuple[dict[str, Any], ...]
    """One entry per training epoch."""
    steps: int
    resumed_from_step: int
    """0: began fresh."""
    seconds: float
    """Of the attempt that finished, without starting processes."""
    rows_key: str | None = None
    """Outputs of the test rows (of a trial: of its scoring rows), scored by all ranks."""
    warm_start: str = ""
    """What was taken from the parent, in words."""
    warm_start_tensors: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """The same by tensor name: taken, reshaped, new, left. Empty when the attempt began fresh or resumed."""
    began_fresh: str = ""
    """Why nothing was taken from a parent that was given; empty otherwise."""
    checkpoint_stall_seconds: float = 0.0
    """That the step loop of rank 0 waited for checkpoints."""
    checkpoint_write_seconds: float = 0.0
    """That writing them took in the background, over `checkpoints_written`."""
    checkpoints_written: int = 0
    processes: int = 1
    """Ranks of the attempt that finished."""
    device: str = "cpu"
    """cpu or cuda."""


def weights_key(work_key: str, epoch: int, sha256: str) -> str:
    """Where an attempt publishes its weights."""
    return f"work/{work_key}/e{epoch:06d}/weights-{sha256}.safetensors"


def publish_result(store: ObjectStore, work_key: str, epoch: int, result: TrainResult) -> TrainResult:
    """Publish by conditional create; an earlier one of this attempt stands and is returned."""
    key = f"work/{work_key}/e{epoch:06d}/result.json"
    try:
        store.create(key, canonical_json(result.model_dump(mode="json")))
    except ObjectExists:
        return parse_result(store.get(key))
    return result


def find_result(store: ObjectStore, work_key: str) -> TrainResult | None:
    """The result of the first attempt that finished, or None."""
    return next(results_of(store, work_key), None)


def results_of(store: ObjectStore, work_key: str) -> Iterator[TrainResult]:
    """Of every attempt that finished, the first one first; a foreign object is none. There is a second one where the
    weights of the first were changed, or are gone."""
    for info in store.list(f"work/{work_key}/e"):
        if re.search(r"/e\d+/result\.json$", info.key):
            with suppress(ForeignRecord):
                yield parse_result(store.get(info.key))


def parse_result(data: bytes) -> TrainResult:
    """As it was written."""
    return TrainResult.model_validate_json(body_of(data))
