"""How the rows of a pipeline's dataset are to be understood."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.profile.rows import RowLayout
from mlratchet.models.workloads.base import Workload


def layout_of(spec: PipelineSpec, workload: Workload, manifest: DatasetManifest) -> RowLayout:
    """By the schema where the dataset holds examples, else by what the workload takes."""
    schema = spec.example_schema if manifest.examples else None
    label = spec.source.column_of("label") or "label"
    found = RowLayout.of(workload.input_spec(), workload.class_names(), schema, label)
    in_words = partial(workload.objective.wanted, class_names=workload.class_names())
    return replace(found, id_column=spec.source.column_of("id"), in_words=in_words)
