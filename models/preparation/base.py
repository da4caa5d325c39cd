"""What a preparation is: examples become named tensors, by a state that is fitted on training rows alone.

Examples are a table, a column per field, typed by its kind. A user's own preparation is a subclass of `Preparation`,
named as ``package.module:Class``; it is loaded in children, so its module should import little and do nothing by that.
"""

from __future__ import annotations

import json
import keyword
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import numpy as np
import pyarrow as pa
from mlratchet.models.config import StrictModel
from mlratchet.models.errors import DataError
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.preparation.meaning import Meaning
from mlratchet.models.schema.fields import Field
from mlratchet.models.schema.reject import Reject
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.tensors.spec import TensorSpec

NUMBERS, CATEGORIES = "numbers", "categories"  # the tensors that several fields share, a column or more each
TAKEN = ("self", "args", "kwargs")  # names that no parameter of `forward` can have
DOCUMENT = "document"  # of the metadata of a state's file

Array = np.ndarray[Any, Any]
Pieces = Callable[[], Iterator[pa.Table]]  # the training rows from the beginning, a piece at a time
Made = TypeVar("Made")


@dataclass(frozen=True, eq=False, kw_only=True)
class State:
    """What was fitted. Nobody changes it; equal states have equal bytes."""

    document: Mapping[str, Any]  # JSON values; finite numbers only
    tensors: Mapping[str, Array] = field(default_factory=dict)  # of any shape and type that safetensors has
    _made: dict[str, Any] = field(default_factory=dict, repr=False)

    def to_bytes(self) -> bytes:
        """One safetensors file, with the document as canonical JSON in its metadata."""
        from safetensors.numpy import save

        held = {name: np.asarray(one, order="C") for name, one in self.tensors.items()}
        data: bytes = save(held, metadata={DOCUMENT: canonical_json(dict(self.document)).decode()})
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> State:
        """Raises ``DataError`` for bytes that `to_bytes` did not write."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            tensors = load(data)
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            found = cls(document=json.loads(header["__metadata__"][DOCUMENT]), tensors=tensors)
        except (SafetensorError, ValueError, KeyError, TypeError) as exc:
            raise DataError(
                f"state of a preparation: {len(data)} bytes cannot be read: {exc}; fit the preparation again"
            ) from exc
        if found.to_bytes() != data:
            raise DataError(f"state of a preparation: {len(data)} bytes are not as it is written; fit it again")
        return found

    @cached_property
    def digest(self) -> str:
        """SHA-256 hex of its bytes."""
        return digest_bytes(self.to_bytes())

    def once(self, name: str, make: Callable[[], Made]) -> Made:
        """What is made of it to apply it, made at the first call only: a state is applied to many requests."""
        if name not in self._made:
            self._made[name] = make()
        made: Made = self._made[name]
        return made


@dataclass(frozen=True, kw_only=True)
class Feature:
    """What a tensor, or one column of a shared one, holds."""

    name: str
    field: str
    tensor: str
    column: int | None = None
    """Of a tensor that several fields share; None: the tensor as a whole."""
    size: int | None = None
    """Codes run from 0 to `size` - 1; None for numbers."""


class NoOptions(StrictModel):
    """Of a preparation that has none."""


class Preparation(ABC):
    """Prepares one or more fields."""

    Options: ClassVar[type[StrictModel]] = NoOptions
    """What can stand in a pipeline file."""
    files: ClassVar[tuple[str, ...]] = ()
    """Files that `fit` opens, relative to its module: whoever changes one changes the rows. What `apply` needs of them
    belongs into the state, for versions are prepared where these files are not."""

    def __init__(self, fields: Mapping[str, Field], options: Any) -> None:
        """`options` is an instance of `Options`."""
        self.fields = dict(fields)
        self.options = options

    @abstractmethod
    def fit(self, pieces: Pieces) -> State:
        """From the training rows, which can be read several times and do not fit into memory.

        Raises ``DataError`` for rows from which nothing can be fitted.
        """

    @abstractmethod
    def apply(self, examples: pa.Table, state: State) -> Inputs:
        """One row of tensors per example; what a row becomes never depends on the rows beside it.

        Raises ``DataError`` for an example that cannot be prepared.
        """

    def apply_few(self, columns: Mapping[str, list[Any]], state: State) -> Inputs | None:  # noqa: ARG002 - for subclasses
        """What `apply` gives for a few rows, of Python values by field that were checked against the schema (None where
        nothing is given), made without a table; None where it takes one."""
        return None

    @abstractmethod
    def tensors(self, state: State) -> tuple[TensorSpec, ...]:
        """What `apply` gives."""

    def features(self, state: State) -> tuple[Feature, ...]:
        """What the tensors hold, in their order."""
        field = next(iter(self.fields))
        return tuple(Feature(name=spec.name, field=field, tensor=spec.name) for spec in self.tensors(state))

    def meanings(self, state: State) -> tuple[Meaning, ...]:
        """What the values of `features` mean, in their order: by default the same under an equal state alone."""
        return tuple(Meaning(name=one.name, form=state.digest) for one in self.features(state))

    def refused(self, examples: pa.Table) -> list[Reject]:  # noqa: ARG002 - for subclasses
        """Examples that cannot be prepared, each with the reason: asked before anything is fitted."""
        return []


class Pass(ABC):
    """One reading of the training rows, from the first to the last."""

    @abstractmethod
    def see(self, piece: pa.Table) -> None:
        """Take in some rows; what is kept does not grow with their number."""

    @abstractmethod
    def end(self) -> Pass | State:
        """After the last row: what was fitted, or the next reading."""


class PiecewisePreparation(Preparation):
    """Is fitted in passes, which it can share with others: the rows are then read once for all of them."""

    @abstractmethod
    def begin(self) -> Pass:
        """The first pass."""

    def fit(self, pieces: Pieces) -> State:
        """As `Preparation.fit`."""
        (state,) = fit_together([self], pieces)
        return state


class NothingToFit(Pass):
    """Of a preparation that needs no row."""

    def see(self, piece: pa.Table) -> None:
        """Nothing."""

    def end(self) -> State:
        """An empty state."""
        return State(document={})


def fit_together(preparations: Sequence[PiecewisePreparation], pieces: Pieces) -> list[State]:
    """The states, in order, with as many readings as the longest needs.

    Raises ``DataError`` where there is no row.
    """
    states: dict[int, State] = {}
    open_passes = {at: one.begin() for at, one in enumerate(preparations)}
    while open_passes:
        rows = 0
        for piece in pieces():
            rows += piece.num_rows
            for one in open_passes.values() if piece.num_rows else ():
                one.see(piece)
        if not rows:
            raise DataError("preparation: no training row to fit on; check the split and what was set aside")
        ended = {at: one.end() for at, one in open_passes.items()}
        states |= {at: one for at, one in ended.items() if isinstance(one, State)}
        open_passes = {at: one for at, one in ended.items() if isinstance(one, Pass)}
    return [states[at] for at in range(len(preparations))]


def tensor_name(field: str) -> str:
    """The name under which a model's `forward` takes a field: what no Python name holds becomes `_`."""
    plain = unicodedata.normalize("NFKC", field)  # as Python reads names
    name = "".join(letter if f"_{letter}".isidentifier() else "_" for letter in plain)
    if keyword.iskeyword(name) or name in TAKEN:
        return f"{name}_"
    return name if name.isidentifier() else f"_{name}"
