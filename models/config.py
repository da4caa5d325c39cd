"""The base of everything that is read from a pipeline file, and the references that several parts of one hold."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class StrictModel(BaseModel):
    """Frozen; refuses unknown keys, NaN and infinity, and a number or boolean written as text."""

    # without `use_attribute_docstrings`: it would read and parse the source of every class, in every process
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class WorkloadRef(StrictModel):
    """The Python side of the pipeline."""

    use: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    """`package.module:Class`, a subclass of `mlratchet.models.workloads.base.Workload`."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the class."""
