"""Hold the gates of a pipeline against its workload and its source, before anything trains."""

from __future__ import annotations

from mlratchet.models.gates.validation import validate_policy
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.sources.record import GROUP_COLUMN
from mlratchet.models.workloads.base import Workload


def check_gates(spec: PipelineSpec, workload: Workload) -> list[str]:
    """Everything about the gates of a pipeline. Warnings; raises ``ConfigurationError``."""
    source = spec.source
    columns = source.slice_columns
    if columns is not None and source.group_column is not None:
        columns = (*columns, GROUP_COLUMN)
    return validate_policy(
        spec.gates, workload.task, workload.class_names(), columns=columns, input_spec=workload.input_spec()
    )
