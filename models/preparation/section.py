"""What can stand under `preparation:` in a pipeline file; whoever reads one loads this, and nothing that prepares."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from mlratchet.models.config import StrictModel
from mlratchet.models.functions import REFERENCE
from mlratchet.models.schema.fields import Kind
from pydantic import Field


class OwnPreparation(StrictModel):
    """A class of the user's."""

    use: Annotated[str, Field(pattern=REFERENCE)]
    """`package.module:Class`, a subclass of `mlratchet.models.preparation.base.Preparation`."""
    fields: Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
    """Inputs of the schema that it prepares; nothing else does."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What its `Options` take."""


class PreparationSection(StrictModel):
    """How fields become tensors; what is not said here is done as is usual for the kind of a field."""

    kinds: dict[Kind, dict[str, Any]] = Field(default_factory=dict)
    """Options of every field of a kind, e.g. `number: {clip: [0.01, 0.99]}`."""
    fields: dict[str, Literal["drop"] | dict[str, Any]] = Field(default_factory=dict)
    """Options of one field, which count more; or `drop`: the model does not get it."""
    own: dict[str, OwnPreparation] = Field(default_factory=dict)
    """Classes of your own, by a name of your choice."""


AS_USUAL = PreparationSection()
