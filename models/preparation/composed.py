"""All of a schema's inputs in one: the preparation that a dataset is made with, and a version answers with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from importlib import metadata
from typing import Any

import numpy as np
import pyarrow as pa
from mlratchet.models.errors import ConfigurationError, DataError
from mlratchet.models.identity.canonical import digest
from mlratchet.models.identity.closure import Closure, source_of
from mlratchet.models.identity.product import reached_through_workloads
from mlratchet.models.preparation.base import (
    CATEGORIES,
    NUMBERS,
    Feature,
    Pieces,
    PiecewisePreparation,
    Preparation,
    State,
    fit_together,
)
from mlratchet.models.preparation.meaning import Meaning
from mlratchet.models.preparation.own_code import kept_class, kept_code
from mlratchet.models.preparation.parts import PlannedPart, parts_of
from mlratchet.models.preparation.rows import table_of
from mlratchet.models.preparation.section import AS_USUAL, PreparationSection
from mlratchet.models.schema.fields import Schema
from mlratchet.models.schema.reject import Reject
from mlratchet.models.tensors.named import Column, Inputs, Ragged
from mlratchet.models.tensors.spec import TensorSpec, check_specs
from typing_extensions import override

BLOCK_BYTES, FIRST_ROWS, GROWTH = 32_000_000, 64, 8  # of a stretch of prepared rows; of the first; from one to the next
CODE = "code"  # of a state's document: the source of the user's own classes
DECIDING = ("kind", "nullable", "alphabet", "shape")  # of a field: what a preparation asks for


class PreparationPlan(Preparation):
    """Numbers and times in "numbers" (N, F), categories in "categories" (N, C), every other field by its own name."""

    Options = PreparationSection

    def __init__(self, schema: Schema, section: PreparationSection = AS_USUAL) -> None:
        """Raises ``ConfigurationError`` for a section that does not fit the schema. Loads no class of the user's."""
        super().__init__(schema.inputs, section)
        self.parts = parts_of(schema, section)

    @cached_property
    def loaded(self) -> tuple[Preparation, ...]:
        """One per part. Raises ``ConfigurationError`` as `PlannedPart.load`."""
        return tuple(part.load() for part in self.parts)

    def loaded_for(self, state: State) -> tuple[Preparation, ...]:
        """One per part, the user's own as they were when the state was fitted. Raises as `loaded`."""
        code = state.document.get(CODE)
        if code is None:
            return self.loaded
        return state.once(
            f"{self._mark} parts",
            lambda: tuple(
                part.load() if part.built_in else part.made_by(kept_class(part.use, code)) for part in self.parts
            ),
        )

    @cached_property
    def _all_built_in(self) -> bool:
        return all(part.built_in for part in self.parts)

    @property
    def own(self) -> tuple[PlannedPart, ...]:
        """The parts whose class is the user's."""
        return tuple(part for part in self.parts if not part.built_in)

    def fit(self, pieces: Pieces) -> State:
        """As `Preparation.fit`; the rows are read as often as the part that reads them most often, not once a part."""
        code = {CODE: kept_code(part.use for part in self.own)} if self.own else {}
        together = {at: one for at, one in enumerate(self.loaded) if isinstance(one, PiecewisePreparation)}
        states = dict(zip(together, fit_together(list(together.values()), pieces), strict=True))
        states |= {
            at: _checked_state(self.parts[at], one.fit(pieces))
            for at, one in enumerate(self.loaded)
            if at not in together
        }
        document = [{**said, "fitted": states[at].document} for at, said in enumerate(self._said)]
        tensors = {f"{at}.{name}": one for at in range(len(self.parts)) for name, one in states[at].tensors.items()}
        whole = State(document={"parts": document, **code}, tensors=tensors)
        self.tensors(whole)
        return whole

    def apply(self, examples: pa.Table, state: State) -> Inputs:
        """As `Preparation.apply`."""
        found: dict[str, list[Column]] = {NUMBERS: [], CATEGORIES: []}
        for part, one, own in zip(self.parts, self.loaded_for(state), self._states(state), strict=True):
            prepared = one.apply(examples, own)
            if not part.built_in:
                _check_answer(part, prepared, one.tensors(own), examples.num_rows)
            for name, column in prepared.columns.items():
                found.setdefault(name, []).append(column)
        return Inputs({name: _joined(columns) for name, columns in found.items() if columns})

    @override
    def apply_few(self, columns: Mapping[str, list[Any]], state: State) -> Inputs | None:
        """As `Preparation.apply_few`, where all parts are Ratchet's and can."""
        if not self._all_built_in:
            return None
        found: dict[str, list[Column]] = {NUMBERS: [], CATEGORIES: []}
        for one, own in zip(self.loaded_for(state), self._states(state), strict=True):
            prepared = one.apply_few(columns, own)
            if prepared is None:
                return None
            for name, column in prepared.columns.items():
                found.setdefault(name, []).append(column)
        return Inputs({name: _joined(same) for name, same in found.items() if same})

    def blocks(self, examples: pa.Table, state: State, *, limit_bytes: int = BLOCK_BYTES) -> Iterator[Inputs]:
        """What `apply` gives, a stretch of rows at a time: a piece of small pictures becomes many times its size.

        After a first stretch of few rows none is much above `limit_bytes`, as far as rows are alike.
        """
        at, count = 0, FIRST_ROWS
        while at < examples.num_rows:
            found = self.apply(examples.slice(at, count), state)
            yield found
            at += count
            row_bytes = max(1, found.nbytes // len(found))
            count = max(1, min(limit_bytes // row_bytes, GROWTH * count))

    def apply_rows(self, rows: Sequence[Mapping[str, Any]], state: State) -> Inputs:
        """Examples as Python values, already checked against the schema."""
        return self.apply(table_of(rows, self.fields), state)

    @override
    def tensors(self, state: State) -> tuple[TensorSpec, ...]:
        """As `Preparation.tensors`. Raises ``ConfigurationError`` for tensors that no model could take."""
        found: dict[str, list[TensorSpec]] = {NUMBERS: [], CATEGORIES: []}
        for one, own in zip(self.loaded_for(state), self._states(state), strict=True):
            for spec in one.tensors(own):
                found.setdefault(spec.name, []).append(spec)
        specs = [_together(same) if name in (NUMBERS, CATEGORIES) else same for name, same in found.items() if same]
        every = tuple(spec for same in specs for spec in same)
        try:
            check_specs(every)
        except ValueError as exc:
            raise ConfigurationError(f"preparation: {exc}") from exc
        return every

    @override
    def features(self, state: State) -> tuple[Feature, ...]:
        """Of all tensors, in their order."""
        held = zip(self.loaded_for(state), self._states(state), strict=True)
        every = [one for part, own in held for one in part.features(own)]
        columns: dict[str, int] = {}
        found = []
        for one in every:
            if one.column is None:
                found.append(one)
                continue
            columns[one.tensor] = columns.get(one.tensor, -1) + 1
            found.append(replace(one, column=columns[one.tensor]))
        order = {spec.name: at for at, spec in enumerate(self.tensors(state))}
        return tuple(sorted(found, key=lambda one: order[one.tensor]))

    def meanings_of_tensors(self, state: State) -> dict[str, list[Meaning]]:
        """By tensor, in the order of its columns; of a class of the user's the same under the same code alone."""
        found: dict[str, list[Meaning]] = {}
        code = f" by {digest(state.document.get(CODE))}"
        for part, one, own in zip(self.parts, self.loaded_for(state), self._states(state), strict=True):
            for feature, meaning in zip(one.features(own), one.meanings(own), strict=True):
                told = meaning if part.built_in else replace(meaning, form=meaning.form + code)
                found.setdefault(feature.tensor, []).append(told)
        return found

    @override
    def refused(self, examples: pa.Table, state: State | None = None) -> list[Reject]:
        """Of all parts, as they were when the state was fitted; None: as they are now."""
        parts = self.loaded if state is None else self.loaded_for(state)
        return [reject for one in parts for reject in one.refused(examples)]

    def identity(self) -> dict[str, Any]:
        """What decides the tensors beside the training rows, as JSON values: fields, options, code, packages.

        No class of the user's is loaded.
        """
        packages = sorted({name for part in self.parts for name in part.packages})
        return {
            "parts": self._said,
            "code": self.closure().parts(),
            "packages": {name: metadata.version(name) for name in packages},
        }

    def digest(self) -> str:
        """SHA-256 hex of its identity."""
        return digest(self.identity())

    def closure(self) -> Closure:
        """The code of its parts: Ratchet's own as far as it is used, and the user's."""
        used = sorted({part.use for part in self.parts})
        return source_of(__name__, *used, follow=reached_through_workloads())

    def _states(self, state: State) -> tuple[State, ...]:
        return state.once(self._mark, lambda: _states_of(state, self._said))

    @cached_property
    def _said(self) -> list[dict[str, Any]]:
        """What is said of each part in a state, which is applied by the same and no other."""
        return [
            {
                "name": part.name,
                "use": part.use,
                "options": dict(part.options),
                "fields": {n: one.model_dump(mode="json", include=set(DECIDING)) for n, one in part.fields.items()},
            }
            for part in self.parts
        ]

    @cached_property
    def _mark(self) -> str:
        return digest(self._said)


def _states_of(state: State, expected: Sequence[Mapping[str, Any]]) -> tuple[State, ...]:
    """Of each part. Raises ``DataError`` for the state of another plan."""
    documents = state.document.get("parts", [])
    for at in range(max(len(documents), len(expected))):
        got, wanted = (parts[at] if at < len(parts) else {} for parts in (documents, expected))
        for key in ("name", "use", "options", "fields"):
            if got.get(key) != wanted.get(key):
                raise DataError(
                    f"state of a preparation: part {at + 1} was fitted with {key} {got.get(key)}, expected "
                    f"{wanted.get(key)}; fit it again, or apply it by the pipeline that it was fitted for"
                )
    found = []
    for at, one in enumerate(documents):
        mark = f"{at}."
        own = {name.removeprefix(mark): held for name, held in state.tensors.items() if name.startswith(mark)}
        found.append(State(document=one["fitted"], tensors=own))
    return tuple(found)


def _together(same: Sequence[TensorSpec]) -> list[TensorSpec]:
    """The tensor whose columns are those of all."""
    return [replace(same[0], shape=(sum(one.shape[0] for one in same),))]


def _joined(columns: Sequence[Column]) -> Column:
    dense = [one for one in columns if not isinstance(one, Ragged)]
    return columns[0] if len(columns) == 1 else np.concatenate(dense, axis=1)


def _checked_state(part: PlannedPart, found: Any) -> State:
    """Raises ``ConfigurationError`` where a class of the user's fits none, or one that cannot be stored."""
    where = f"preparation {part.use}"
    if not isinstance(found, State):
        raise ConfigurationError(f"{where}: fit gave {type(found).__name__}, expected a State")
    try:
        return State.from_bytes(found.to_bytes())
    except (TypeError, ValueError, DataError) as exc:
        raise ConfigurationError(
            f"{where}: what fit gave cannot be stored: {exc}; document takes JSON values, tensors takes NumPy arrays"
        ) from exc


def _check_answer(part: PlannedPart, found: Any, specs: Sequence[TensorSpec], rows: int) -> None:
    """Raises ``ConfigurationError`` where a class of the user's gives other tensors than it says."""
    where = f"preparation {part.use}"
    if not isinstance(found, Inputs):
        raise ConfigurationError(f"{where}: apply gave {type(found).__name__}, expected Inputs of named arrays")
    if len(found) != rows or set(found.names) != {spec.name for spec in specs}:
        expected = ", ".join(spec.name for spec in specs)
        raise ConfigurationError(f"{where}: apply gave {found!r}, expected {rows} rows of {expected}")
    for spec in specs:
        column = found.columns[spec.name]
        ragged = isinstance(column, Ragged)
        shape = column.shape if isinstance(column, Ragged) else column.shape[1:]
        if (ragged, tuple(shape), str(column.dtype)) != (spec.ragged, spec.shape, spec.dtype):
            got = f"{'ragged ' if ragged else ''}{column.dtype} {list(shape)}"
            raise ConfigurationError(f"{where}: apply gave {spec.name} ({got}), expected {spec}")
