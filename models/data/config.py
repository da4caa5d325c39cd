"""Where a pipeline's records come from and how they are split; part of the dataset's identity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Union

from mlratchet.models.config import StrictModel
from mlratchet.models.data.split_rules import SplitConfig, SplitRule
from mlratchet.models.functions import REFERENCE
from mlratchet.models.sources.base import SourceOptions
from mlratchet.models.sources.formats import FORMATS, format_of
from pydantic import ConfigDict, Discriminator, Field, Tag, create_model

__all__ = ["DataConfig", "NearDuplicates", "Source", "SourceConfig", "SplitConfig"]


def _named(document: Any) -> str:
    """The tag of the options that a section is checked against."""
    name = document.get("format") if isinstance(document, Mapping) else getattr(document, "format", None)
    if name is None:
        return "any"
    return name if name in FORMATS or ":" not in str(name) else "own"


class OwnSource(SourceOptions):
    """A user's own format: its class checks the options."""

    model_config = ConfigDict(extra="allow")
    format: str = Field(pattern=REFERENCE)

    def carried(self) -> None:
        """Only the data tells."""
        return


if TYPE_CHECKING:
    Source = SourceOptions
    SourceConfig = SourceOptions
else:  # a format that is added to `FORMATS` is an option here
    _kinds = {name: format_of(name).Options for name in FORMATS}
    # without a format: what any built-in one takes, until the workload says which it reads
    SourceConfig = create_model("SourceConfig", __base__=tuple(_kinds.values()), format=(None, None))
    _options = [Annotated[kind, Tag(name)] for name, kind in _kinds.items()]
    _options += [Annotated[SourceConfig, Tag("any")], Annotated[OwnSource, Tag("own")]]
    Source = Annotated[
        Union[tuple(_options)],  # noqa: UP007 - of a list
        Discriminator(
            _named,
            custom_error_type="unknown_format",
            custom_error_message=f"unknown format; there are {', '.join(FORMATS)}, or package.module:Class",
        ),
    ]
"""What stands under `source` of a pipeline file: the options of its format."""


class NearDuplicates(StrictModel):
    """From which distance on two records count as near-duplicates."""

    similarity: float = Field(default=0.8, ge=0.5, le=1)
    """Of texts and sequences: shingles that both have, of all (Jaccard): five characters, four letters, eight bases."""
    picture_bits: int = Field(default=4, ge=0, le=16)
    """Of pictures: how many of the 64 bits of their perceptual hashes may differ."""


class DataConfig(StrictModel):
    """Split and sharding."""

    split: SplitRule = SplitConfig()
    rows_per_shard: int = Field(default=1024, ge=1)
    """At least; a dataset of very many such shards has larger ones."""
    set_aside: tuple[str, ...] = Field(default=(), strict=False, exclude_if=lambda value: not value)
    """Remarks whose records are set aside: what `quality.rules` says of them, for the identity of the rows."""
    near: NearDuplicates | None = Field(default=None, exclude_if=lambda value: value is None)
    """Which records are near-duplicates, where those stay on one side: `quality.near`, for the identity of the rows."""
