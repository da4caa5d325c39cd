"""What a format is: the objects of a delivery become examples. One class per format, with its own options."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import ClassVar, Literal

from mlratchet.models.config import StrictModel
from mlratchet.models.sources.log_rows import LoggedRows
from mlratchet.models.sources.pieces import RawPiece, examples_as_tables
from mlratchet.models.sources.ranged import Open, opening_whole
from mlratchet.models.sources.record import Example, RawObject, Reject
from mlratchet.models.sources.selection import Selection
from pydantic import Field

__all__ = ["Example", "Fetch", "Format", "NumberOptions", "RawPiece", "SourceOptions"]

Fetch = Callable[[RawObject], bytes]  # verified bytes; may be called from several threads


class SourceOptions(StrictModel):
    """Where the raw objects of a pipeline are, and in which format; the options of the format stand beside."""

    prefix: str = Field(min_length=1)
    """Every object in this folder belongs to the delivery: `plant` reads `plant/`, never `plant-old/`."""
    bucket: str | None = None
    """null: the raw bucket of the settings."""
    format: str | None = None
    """csv, parquet, ... (docs/formats.md), or ``package.module:Class``; null: the one that the workload reads."""
    select: Selection | None = None
    """Which objects and rows of the delivery are read; null: all."""
    snapshot: Literal["copy", "pin"] = Field(default="copy", exclude_if=lambda value: value == "copy")
    """copy: a run keeps a copy of every object; pin: it keeps which versions of them it read, in a bucket that keeps
    versions. The rows, and what is made of them, are the same."""
    inference_log: LoggedRows | None = Field(default=None, exclude_if=lambda value: value is None)
    """Labelled rows that clients sent to the deployed model are trained on, too; null: what is delivered alone."""

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


class Format(ABC):
    """Reads objects. A user's own is a subclass, named as ``source.format: package.module:Class``."""

    name: ClassVar[str]
    """In a pipeline file."""
    Options: ClassVar[type[SourceOptions]]
    """What can stand under `source`."""
    alone: ClassVar[tuple[str, ...]] = ()
    """How the names of files end of which each is read by itself, whatever lies beside it; empty: all are read
    together."""
    files: ClassVar[tuple[str, ...]] = ()
    """Files that its code opens, relative to its module: whoever changes one changes what it decides."""

    def __init__(self, options: SourceOptions) -> None:
        self.options = options

    @abstractmethod
    def read(self, objects: list[RawObject], fetch: Fetch, *, columns: Sequence[str]) -> Iterator[Example | Reject]:
        """Examples, and what cannot be one with the reason, each once. `columns` are those that the workload needs.

        Raises ``DataError`` when the delivery as a whole cannot be read.
        """

    def tables(
        self, objects: list[RawObject], open_object: Open, columns: Sequence[str] | None = None
    ) -> Iterator[RawPiece | Reject]:
        """The same as tables of raw values, in pieces of bounded size, and what cannot be one with the reason.

        `columns`: those that are needed, all without it; a piece may hold more. `open_object` gives an object as a file
        of which only what is read is fetched. Raises as `read`. A format that has nothing better gives its examples.
        """

        def fetch(item: RawObject) -> bytes:
            with open_object(item) as source:
                return source.read()

        yield from examples_as_tables(self.read(objects, fetch, columns=columns or ()), open_object)


class ExampleFormat(Format):
    """A format whose objects are opened one after the other and give their examples one by one."""

    @abstractmethod
    def examples(self, objects: list[RawObject], open_object: Open) -> Iterator[Example | Reject]:
        """As `read`, from objects of which only what is read is fetched."""

    def read(self, objects: list[RawObject], fetch: Fetch, *, columns: Sequence[str]) -> Iterator[Example | Reject]:  # noqa: ARG002
        """Every example; the columns are what it has."""
        yield from self.examples(objects, opening_whole(fetch))

    def tables(
        self,
        objects: list[RawObject],
        open_object: Open,
        columns: Sequence[str] | None = None,  # noqa: ARG002
    ) -> Iterator[RawPiece | Reject]:
        """In pieces; memory does not grow with an object."""
        yield from examples_as_tables(self.examples(objects, open_object), open_object)


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
