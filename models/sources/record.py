"""What a source gives: the objects of a snapshot, the records read from them, what was set aside, and rows by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from mlratchet.models.schema.reject import Reject as Reject  # of a source, too: formats give them
from mlratchet.models.schema.reject import place_of as place_of
from mlratchet.models.tensors.named import Inputs, Row
from mlratchet.models.tensors.spec import ONE, TensorSpec, takes_one

PIECE_BYTES = 8 << 20  # of a large object, that a digest of its own is kept of
GROUP_COLUMN = "@group"  # the column that names the group of a row (of a ranking: its query); no header has it
LOGGED_COLUMN = "@logged"  # `LOGGED` in a row that comes from the inference log; no header has it
LOGGED = "yes"
Target = int | float | tuple[float, ...] | tuple[tuple[float, ...], ...]
"""A class index or a number; 0 or 1 per label; or a sequence or set of things, of the same size in every row: what is
beyond a row's own is filled up with what the objective leaves out (boxes of class -1)."""


@dataclass(frozen=True, kw_only=True)
class RawObject:
    """One object of a snapshot, as a workload sees it."""

    key: str  # below the source prefix
    size_bytes: int
    sha256: str
    pieces: tuple[str, ...] = ()  # SHA-256 of each `PIECE_BYTES` of a larger one; empty: not recorded


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
    sound: RawObject | None = None  # likewise
    data: bytes | None = None  # of the picture or sound, where no object holds it alone


@dataclass(frozen=True, kw_only=True)
class Remark:
    """What is worth a word about a record that is used all the same."""

    code: str  # a short stable word, e.g. `broken_exif`
    words: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """One row of a dataset."""

    id: str  # stable over deliveries
    x: Row  # an array of the shape and dtype of `InputSpec`; by name, where the workload has `tensors()`
    y: Target  # class index; number; 0 or 1 per label; relevance; a filled-up sequence or set
    group: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)  # for slices
    content_sha256: str = ""  # of the raw input, to find duplicates
    row_digest: str = ""  # of its raw cells, label and id aside (`raw_cells.py`); empty: not told
    row_columns: tuple[str, ...] = ()  # the names that `row_digest` is over
    raw_digest: str = ""  # of the raw cells or bytes of its input alone; empty: not told
    time_us: int | None = None  # microseconds since 1970 in UTC; None: not told
    where: str = ""  # file or file:row; empty: not told
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How the bytes of a picture become numbers in 0..1, beside its size: the same for training and clients."""

    background: str = "#ffffff"  # what transparent pixels show
    value_range: tuple[float, float] | None = None  # black and white of pictures that do not hold bytes; None: refused
    max_pixels: int = 64_000_000  # a small file can fill the memory


@dataclass(frozen=True, kw_only=True)
class ExampleSpec:
    """What it takes to prepare an example of a client: all that a server has to know beside the program."""

    schema: str  # JSON of `models/schema/fields.Schema`
    preparation: str  # JSON of the section of the pipeline file
    fitted: str = ""  # base64 of the fitted state; empty: not fitted yet


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """What the exported program takes, without the batch dimension; enough to serve without user code."""

    kind: Literal["image", "tensor", "table", "named"]
    shape: tuple[int, ...]  # e.g. (1, 8, 8)
    dtype: Literal["float32", "int64", "uint8"]
    columns: tuple[str, ...] = ()  # for `table`: one name per value
    value_range: tuple[float, float] | None = None  # refuse values outside
    defaults: tuple[tuple[str, float], ...] = ()  # column -> what a request that lacks it means
    decoding: Decoding | None = None  # for `image`; None: as it is by default
    tensors: tuple[TensorSpec, ...] = ()  # for `named`: what a row is made of; `shape` and `dtype` then say nothing
    example: ExampleSpec | None = None  # where clients send examples by a schema, and the version prepares them

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """Every tensor of a row, also where it is one without a name."""
        return self.tensors or (TensorSpec(name=ONE, shape=self.shape, dtype=self.dtype, value_range=self.value_range),)


def named_input(tensors: tuple[TensorSpec, ...]) -> InputSpec:
    """The input of a workload that names its tensors; one that is called `x` is as one without a name."""
    if takes_one(tensors) and tensors[0].name == ONE:
        only = tensors[0]
        return InputSpec(kind="tensor", shape=only.shape, dtype=only.dtype, value_range=only.value_range)  # type: ignore[arg-type]  # `check_specs` refuses others
    return InputSpec(kind="named", shape=(), dtype="float32", tensors=tensors)


def target_names(target: Target, class_names: tuple[str, ...]) -> tuple[str, ...]:
    """The class of a row, the labels that it has, or nothing where there are no names, and of sequences and sets."""
    if not class_names or not is_of_names(target, class_names):
        return ()
    if isinstance(target, tuple):
        return tuple(name for name, on in zip(class_names, target, strict=True) if on)
    return (class_names[int(target)],)


def is_of_names(target: Target, class_names: Sequence[str]) -> bool:
    """Whether it is a class, or 0 or 1 per label; a sequence or set has as many things as it has."""
    return not isinstance(target, tuple) or (len(target) == len(class_names) and not is_nested(target))


def is_nested(target: Target) -> bool:
    """Whether it is a sequence or set of things."""
    return isinstance(target, tuple) and len(target) > 0 and isinstance(target[0], tuple)


@dataclass(frozen=True, kw_only=True)
class Split:
    """All rows of one side, in the order of the manifest."""

    ids: Sequence[str]
    x: Inputs  # an array (rows, *input shape) is the one input `x`
    y: np.ndarray[Any, Any]
    """(rows,), int64 for classes; (rows,), (rows, labels) or (rows, most, numbers of a thing) float32 otherwise."""
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    dataset_id: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.x, np.ndarray):
            object.__setattr__(self, "x", Inputs({ONE: self.x}))


def inputs_of(records: Sequence[Record], tensors: Sequence[TensorSpec] = ()) -> Inputs:
    """The inputs of records, at least one. `tensors`: of the workload, where it names some."""
    if not tensors:
        return Inputs({ONE: np.stack([record.x for record in records])})  # type: ignore[misc]  # none is named
    return Inputs.stack([record.x for record in records], tensors)  # type: ignore[misc]  # all are named


def arrays_of(x: Row) -> list[np.ndarray[Any, Any]]:
    """Every array of a record's input, by the order of names."""
    return [x[name] for name in sorted(x)] if isinstance(x, Mapping) else [x]
