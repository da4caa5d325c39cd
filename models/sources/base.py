"""What a format is: the objects of a delivery become examples. One class per format, with its own options."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from mlratchet.models.config import StrictModel
from mlratchet.models.sources.record import RawObject, Reject
from pydantic import Field

Fetch = Callable[[RawObject], bytes]  # verified bytes; may be called from several threads


class SourceOptions(StrictModel):
    """Where the raw objects of a pipeline are, and in which format; the options of the format stand beside."""

    prefix: str = Field(min_length=1)
    """Every object in this folder belongs to the delivery: `plant` reads `plant/`, never `plant-old/`."""
    bucket: str | None = None
    """null: the raw bucket of the settings."""
    format: str | None = None
    """csv, images, image_folder, or ``package.module:Class``; null: the one that the workload reads."""

    def column_of(self, role: Literal["id", "label", "group"]) -> str | None:
        """The column that holds it; None where none was named, or the format has no columns."""
        return getattr(self, f"{role}_column", None)

    def carried(self) -> tuple[str, ...] | None:
        """Columns that travel with every row, for slices; None where only the data tells."""
        return ()


class NumberOptions(SourceOptions):
    """Of every format whose cells are numbers as people write them."""

    decimal: Literal[".", ","] | dict[str, Literal[".", ","]] | None = None
    """The decimal mark of every number column, or by column; null: told by the first delivery."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """One input as its format holds it: nothing of it is converted."""

    where: str  # file or file:row
    values: Mapping[str, str]  # cells by column, without the blanks around them
    label: str | None = None  # where the format knows which it is
    id: str | None = None  # stable over deliveries; None where the format has no name for an example
    group: str | None = None  # examples of one group stay on one side of the split
    columns: Mapping[str, str] = field(default_factory=dict)  # what travels with the row, for slices
    picture: RawObject | None = None  # the object that holds it


class Format(ABC):
    """Reads objects. A user's own is a subclass, named as ``source.format: package.module:Class``."""

    name: ClassVar[str]
    """In a pipeline file."""
    Options: ClassVar[type[SourceOptions]]
    """What can stand under `source`."""

    def __init__(self, options: SourceOptions) -> None:
        self.options = options

    @abstractmethod
    def read(self, objects: list[RawObject], fetch: Fetch, *, columns: Sequence[str]) -> Iterator[Example | Reject]:
        """Examples, and what cannot be one with the reason, each once. `columns` are those that the workload needs.

        Raises ``DataError`` when the delivery as a whole cannot be read.
        """


AFTER = "after "  # begins the note of an exception that says which example came before it


def placed(examples: Iterable[Example | Reject]) -> Iterator[Example | Reject]:
    """The same examples; whatever their reader raises has a note of the last one."""
    last = ""
    try:
        for one in examples:
            last = one.where
            yield one
    except Exception as error:
        if last:
            error.add_note(f"{AFTER}{last}")
        raise
