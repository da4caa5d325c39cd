"""The reference to the Python side of a pipeline. Apart from `spec`, so that data and evaluation can name it."""

from __future__ import annotations

from typing import Any

from mlratchet.models.config import StrictModel
from pydantic import Field


class WorkloadRef(StrictModel):
    """The Python side of the pipeline."""

    use: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    """`package.module:Class`, a subclass of `mlratchet.models.workloads.base.Workload`."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the class."""
