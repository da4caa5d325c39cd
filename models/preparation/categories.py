"""Categories and entities: each value has a code; what training did not see, or rarely, has code 0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import pyarrow as pa
from mlratchet.models.config import StrictModel
from mlratchet.models.preparation.base import (
    CATEGORIES,
    Feature,
    Pass,
    PiecewisePreparation,
    State,
    tensor_name,
)
from mlratchet.models.preparation.cells import column_of, not_given
from mlratchet.models.preparation.meaning import Meaning
from mlratchet.models.preparation.vocabulary import CountedValues, Vocabulary, chosen, packed, unpacked
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.tensors.spec import TensorSpec
from pydantic import Field
from typing_extensions import override

UNKNOWN, MISSING = 0, 1
OF_NO_VALUE = "\0"  # begins the name of a code that no delivered value has
MOST_CATEGORIES, MOST_ENTITIES = 1_000_000, 50_000_000  # different values that a fit keeps


class CategoryOptions(StrictModel):
    """How a category is prepared."""

    min_count: Annotated[int, Field(ge=1)] = 2
    """A value that fewer training rows have counts as unknown: so the code of the unknown is learnt, too."""
    max_size: Annotated[int, Field(ge=1)] = 10_000
    """The commonest values that have a code of their own."""


class EntityOptions(StrictModel):
    """How a user, an item, or another thing with a name is prepared."""

    min_count: Annotated[int, Field(ge=1)] = 2
    """One that fewer training rows have is in the cold-start bucket: so that bucket is learnt, too."""
    max_size: Annotated[int, Field(ge=1)] = MOST_ENTITIES
    """The commonest that have a code of their own."""


class CategoryPreparation(PiecewisePreparation):
    """One category -> a column of "categories": 0 is unknown, 1 is not given, then the values in order of letters."""

    Options = CategoryOptions
    options: CategoryOptions

    def begin(self) -> Pass:
        """Count the values."""
        hint = "declare kind: entity or text, or leave it out with drop"
        return _Categories(next(iter(self.fields)), self.options, at_most=MOST_CATEGORIES, hint=hint)

    def apply(self, examples: pa.Table, state: State) -> Inputs:
        """As `Preparation.apply`."""
        ((name, kind),) = self.fields.items()
        column = column_of(examples, name)
        if column.null_count and not kind.nullable:
            raise not_given(examples, name, column.to_pylist().index(None))
        return Inputs({CATEGORIES: self._known(state).codes(column, missing=MISSING)[:, None]})

    @override
    def apply_few(self, columns: Mapping[str, list[Any]], state: State) -> Inputs:
        """As `Preparation.apply_few`."""
        (name,) = self.fields
        return Inputs({CATEGORIES: self._known(state).codes_of(columns[name], missing=MISSING)[:, None]})

    def _known(self, state: State) -> Vocabulary:
        return state.once("vocabulary", lambda: Vocabulary(state.document["values"], first=MISSING + 1))

    @override
    def tensors(self, state: State) -> tuple[TensorSpec, ...]:
        """As `Preparation.tensors`."""
        return (TensorSpec(name=CATEGORIES, shape=(1,), dtype="int64"),)

    @override
    def features(self, state: State) -> tuple[Feature, ...]:
        """One column."""
        (name,) = self.fields
        size = MISSING + 1 + len(state.document["values"])
        return (Feature(name=name, field=name, tensor=CATEGORIES, column=0, size=size),)

    @override
    def meanings(self, state: State) -> tuple[Meaning, ...]:
        """Values by code."""
        codes = (f"{OF_NO_VALUE}unknown", f"{OF_NO_VALUE}not given", *state.document["values"])
        return (Meaning(name=next(iter(self.fields)), form="category", codes=codes, unknown=UNKNOWN),)


class EntityPreparation(PiecewisePreparation):
    """One entity -> a tensor of its name (N,): 0 is whom training did not know, then the names in order of letters."""

    Options = EntityOptions
    options: EntityOptions

    def begin(self) -> Pass:
        """Count the names."""
        hint = "leave it out with drop, or give the model a coarser name"
        return _Entities(next(iter(self.fields)), self.options, at_most=MOST_ENTITIES, hint=hint)

    def apply(self, examples: pa.Table, state: State) -> Inputs:
        """As `Preparation.apply`."""
        ((name, kind),) = self.fields.items()
        column = column_of(examples, name)
        if column.null_count and not kind.nullable:
            raise not_given(examples, name, column.to_pylist().index(None))
        return Inputs({tensor_name(name): self._known(state).codes(column, missing=UNKNOWN)})

    @override
    def apply_few(self, columns: Mapping[str, list[Any]], state: State) -> Inputs:
        """As `Preparation.apply_few`."""
        (name,) = self.fields
        return Inputs({tensor_name(name): self._known(state).codes_of(columns[name], missing=UNKNOWN)})

    def _known(self, state: State) -> Vocabulary:
        return state.once("vocabulary", lambda: Vocabulary(unpacked(**state.tensors), first=UNKNOWN + 1))

    @override
    def tensors(self, state: State) -> tuple[TensorSpec, ...]:
        """As `Preparation.tensors`."""
        return (TensorSpec(name=tensor_name(next(iter(self.fields))), shape=(), dtype="int64"),)

    @override
    def features(self, state: State) -> tuple[Feature, ...]:
        """One."""
        (name,) = self.fields
        size = UNKNOWN + len(state.tensors["ends"])  # one end more than names
        return (Feature(name=name, field=name, tensor=tensor_name(name), size=size),)

    @override
    def meanings(self, state: State) -> tuple[Meaning, ...]:
        """Names by code."""
        codes = (f"{OF_NO_VALUE}unknown", *unpacked(**state.tensors))
        return (Meaning(name=next(iter(self.fields)), form="entity", codes=codes, unknown=UNKNOWN),)


class _Chosen(CountedValues):
    def __init__(self, field: str, options: CategoryOptions | EntityOptions, *, at_most: int, hint: str) -> None:
        super().__init__(field, at_most=at_most, hint=hint)
        self.options = options

    @property
    def values(self) -> list[str]:
        return chosen(self.counts, least=self.options.min_count, most=self.options.max_size)


class _Categories(_Chosen):
    def end(self) -> State:
        return State(document={"values": self.values})


class _Entities(_Chosen):
    def end(self) -> State:
        return State(document={}, tensors=packed(self.values))
