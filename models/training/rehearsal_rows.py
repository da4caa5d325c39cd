"""The rows of a rehearsal: made up from what a workload takes, or a few of the rows that it will be trained on."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from mlratchet.models.config import WorkloadRef
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.data.shards import write_split
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.sources.record import GROUP_COLUMN, Split
from mlratchet.models.tensors.named import Column, Inputs, Ragged
from mlratchet.models.tensors.spec import TensorSpec
from mlratchet.models.workloads.base import Workload
from mlratchet.models.workloads.examples import table_of_examples
from mlratchet.models.workloads.fields import SchemaWorkload
from mlratchet.models.workloads.made_up import made_up_examples

MADE_UP = 12
LONGEST = 4  # row of a ragged tensor
SCORED = 5  # rows of the validation and of the test side
OF_A_QUERY = 2  # rows

Array = np.ndarray[Any, Any]


def made_up(workload: Workload) -> Split:
    """Rows of 0 and 1, or of numbers within the declared range: what most models can take, embeddings included."""
    rng = np.random.default_rng(0)
    columns = {spec.name: _made_up_column(spec, rng) for spec in workload.tensors()}
    return Split(ids=[f"made-up-{at}" for at in range(MADE_UP)], x=Inputs(columns), y=targets(workload, MADE_UP))


def fitted_to_made_up(workload: Workload, ref: WorkloadRef) -> WorkloadRef:
    """A workload over a schema whose preparation is fitted to examples that are made up from its fields."""
    assert isinstance(workload, SchemaWorkload)
    table = table_of_examples(made_up_examples(workload.schema, MADE_UP), workload.schema)
    state = workload.plan.fit(lambda: iter([table]))
    fitted = {"fitted": base64.b64encode(state.to_bytes()).decode()}
    return ref.model_copy(update={"parameters": {**ref.parameters, **fitted}})


def _made_up_column(spec: TensorSpec, rng: np.random.Generator) -> Column:
    """Rows of a ragged tensor are 1, 2, ... values long."""
    lengths = np.arange(MADE_UP) % LONGEST + 1
    shape = (int(lengths.sum()) if spec.ragged else MADE_UP, *spec.shape)
    if spec.value_range is not None:
        low, high = spec.value_range
        x: Array = rng.uniform(low, high, shape)
        x = np.floor(x) if np.issubdtype(np.dtype(spec.dtype), np.integer) else x
    else:
        x = rng.integers(0, 2, shape)
    x = x.astype(spec.dtype)
    return Ragged.of(np.split(x, np.cumsum(lengths)[:-1]), spec) if spec.ragged else x


def targets(workload: Workload, count: int) -> Array:
    """Targets that the objective takes: class indices, 0 and 1 per label, or numbers. Raises ``ConfigurationError``."""
    names, objective = workload.class_names(), workload.objective
    own = [objective.made_up_target(at, names) for at in range(count)]
    if None not in own:
        return np.asarray(own, dtype=np.int64 if isinstance(own[0], int) else np.float32)
    classes = [at % max(1, len(names)) for at in range(count)]
    labels = [tuple(float((at + label) % 2) for label in range(len(names))) for at in range(count)]
    numbers = [float(at % 2) for at in range(count)]
    for found in (classes, labels, numbers) if names else (numbers, [at % 2 for at in range(count)]):
        if not any(objective.refusal(one, names) for one in found):
            return np.asarray(found, dtype=np.int64 if isinstance(found[0], int) else np.float32)
    raise ConfigurationError(
        f"objective {objective.name}: it refuses classes, labels and numbers alike; override made_up_target"
    )


def write_small_dataset(store: ObjectStore, workload: Workload, rows: Split, *, drawn: int) -> str:
    """A dataset of `rows`, again and again as far as needed: `drawn` rows or queries to train on. Returns its id."""
    by_query = workload.objective.by_query
    splits = {
        side: write_split(store, _repeated(rows, count, by_query=by_query), rows_per_shard=count)
        for side, count in (
            ("train", drawn * OF_A_QUERY if by_query else drawn), ("validation", SCORED), ("test", SCORED),
        )
    }  # fmt: skip
    manifest = DatasetManifest(
        id="rehearsal", snapshot_id="rehearsal", splits=splits, target_counts={}, index_sha256="",
        rows={side: sum(ref.rows for ref in refs) for side, refs in splits.items()},
    )  # fmt: skip
    store.create("datasets/rehearsal.json", manifest.model_dump_json().encode())
    return manifest.id


def _repeated(rows: Split, count: int, *, by_query: bool) -> Split:
    at = np.arange(count) % len(rows.x)
    queries = {GROUP_COLUMN: [str(number // OF_A_QUERY) for number in range(count)]} if by_query else {}
    return Split(
        ids=[f"rehearsal-{number}" for number in range(count)], x=rows.x.take(at), y=rows.y[at], columns=queries
    )
