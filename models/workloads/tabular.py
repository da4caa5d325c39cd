"""Tables: one row of numbers per record.

Shape legend: B rows, F columns, C classes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.objectives.base import Task
from mlratchet.models.schema.numbers import CellError, Mark, check_file, column_with_commas, decide, look, read_number
from mlratchet.models.sources.base import Example
from mlratchet.models.sources.csv import Csv
from mlratchet.models.sources.raw_cells import cells_digest
from mlratchet.models.sources.record import (
    InputSpec,
    RawObject,
    Record,
    Reject,
    Target,
    place_of,
)
from mlratchet.models.workloads.base import Workload, declared_marks
from mlratchet.models.workloads.between_rows import numbered, with_merged
from mlratchet.models.workloads.standardise import attach, fit, neutral
from torch import nn

if TYPE_CHECKING:
    import torch

TWO_POINTS = re.compile(r"\.\d+\.")


class TableWorkload(Workload):
    """Named number columns in, one target out. Subclass one of the four below."""

    formats = (Csv, "parquet", "jsonl", "joined")

    standardise: bool | tuple[str, ...] = True
    """Whether columns (all, or these) are brought to mean 0 and standard deviation 1 over the training rows, and so the
    target of a regression. Of the pipeline file, or of the class."""

    def __init__(
        self,
        *,
        columns: list[str],
        hidden: int | list[int],
        dropout: float,
        standardise: bool | list[str] | None = None,
    ) -> None:
        if not columns or len(set(columns)) != len(columns):
            raise ValueError(f"columns must be one or more different names, got {columns}")
        widths = hidden if isinstance(hidden, list) else [hidden]
        if not widths or any(width < 1 for width in widths):
            raise ValueError(f"hidden must be at least 1, or a list of such widths, got {hidden}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {dropout}")
        self.columns = tuple(str(name) for name in columns)
        self.hidden, self.dropout = tuple(widths), dropout
        if standardise is not None:
            self.standardise = standardise if isinstance(standardise, bool) else tuple(standardise)
        strangers = [] if isinstance(self.standardise, bool) else sorted(set(self.standardise) - set(self.columns))
        if strangers:
            raise ValueError(f"standardise names {strangers[0]!r}, which is none of columns")

    def layers(self, outputs: int) -> nn.Sequential:
        """Linear layers of the widths `hidden`, each with ReLU and dropout, and one to `outputs`."""
        modules: list[nn.Module] = []
        before = len(self.columns)
        for width in self.hidden:
            modules += [nn.Linear(before, width), nn.ReLU(), *([nn.Dropout(self.dropout)] if self.dropout else [])]
            before = width
        return nn.Sequential(*modules, nn.Linear(before, outputs))

    def prepared_model(self) -> nn.Module:
        """With its columns on a scale of their own."""
        module, spec = self.build_model(), self.input_spec()
        if self.standardise and len(spec.shape) == 1 and spec.dtype == "float32":
            attach(module, spec.shape[0], target=self._scales_target())
        return module

    def fit_preparation(self, module: nn.Module, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> None:
        """Means and scales of the columns, and of a number that is learnt."""
        names = self.input_spec().columns
        only = None if isinstance(self.standardise, bool) else [names.index(name) for name in self.standardise]
        fit(module, x, y, only=only)

    def neutral_preparation(self, columns: tuple[str, ...]) -> dict[str, torch.Tensor]:
        """Columns as they are."""
        return neutral(len(columns), target=self._scales_target()) if self.standardise else {}

    def _scales_target(self) -> bool:
        """A loss of the workload's own may read the output otherwise than as a number in the target's unit."""
        return self.objective.target_on_a_scale and type(self).loss is Workload.loss

    def input_spec(self) -> InputSpec:
        """(F,) numbers, by name or in the order of `columns`."""
        return InputSpec(kind="table", shape=(len(self.columns),), dtype="float32", columns=self.columns)

    def target(self, text: str, *, decimal: Mark) -> int | float:
        """The target of a label cell; `decimal` as for `read_number`. Raises ``ValueError`` with what was expected."""
        raise NotImplementedError

    def target_columns(self, source: Mapping[str, Any]) -> tuple[str, ...]:
        """Columns that hold the target: no input, and no slice."""
        return (str(source.get("label_column", "label")),)

    def row_target(self, cells: list[str], *, decimal: Mark) -> Target:
        """The target from the cells of `target_columns`. Raises ``ValueError`` saying what was expected."""
        return self.target(cells[0], decimal=decimal)

    def records(
        self, objects: list[RawObject], fetch: Callable[[RawObject], bytes], source: Mapping[str, Any]
    ) -> Iterator[Record | Reject]:
        """A record per example.

        Without an id column a record's id is the digest of its raw cells, label aside, in the columns of the pipeline's
        first delivery: a relabelled row keeps its id, a new column moves nobody, and equal rows stay on one side of the
        split. Raises ``DataError`` for a file whose numbers are written otherwise than its columns' are.
        """
        found: list[Record | Reject] = []
        wide: list[np.ndarray[Any, Any]] = []  # the numbers of each record before they are float32
        known: dict[tuple[str, ...], tuple[str, ...]] = {}  # one tuple for all rows of a table
        first = source.get("identity_columns") or ()
        aside = {*self.target_columns(source), source.get("id_column")}
        marks = self._marks(objects, fetch, source)
        examples = self.examples(objects, fetch, source, columns=self._needed(source))
        for _, file in groupby(examples, key=lambda one: place_of(one.where)[0]):
            rows = list(file)
            for one in rows:
                if isinstance(one, Reject):
                    found.append(one)
                    continue
                names = tuple(name for name in (first or one.values) if name in one.values and name not in aside)
                record, numbers_F = self._record(one, source, known.setdefault(names, names), marks)
                found.append(record)
                if numbers_F is not None:
                    wide.append(numbers_F)
            self._check_notation([one for one in rows if isinstance(one, Example)], marks)
        found = with_merged(found, wide, self.columns)
        yield from (found if source.get("id_column") else numbered(found, self.class_names()))

    def identity_columns(
        self, objects: list[RawObject], fetch: Callable[[RawObject], bytes], source: Mapping[str, Any]
    ) -> tuple[str, ...]:
        """Every column of its rows but label and id, by name."""
        read = self.examples(objects, fetch, source, columns=self._needed(source))
        names = {name for one in read if not isinstance(one, Reject) for name in one.values}
        return tuple(sorted(names - {*self.target_columns(source), source.get("id_column")}))

    def number_marks(
        self, objects: list[RawObject], fetch: Callable[[RawObject], bytes], source: Mapping[str, Any]
    ) -> dict[str, Mark]:
        """By the cells of its number columns, unless they are declared in the source, or known in its
        `number_marks`."""
        columns = self.number_columns(source)
        known = {name: mark for name, mark in (source.get("number_marks") or {}).items() if mark}
        known |= declared_marks(source, columns)
        open_ = [name for name in columns if name not in known]
        if not open_:
            return known
        read = self.examples(objects, fetch, source, columns=self._needed(source))
        cells = ((one.where, one.values) for one in read if isinstance(one, Example))
        return {**decide(look(cells, open_), known=known), **known}

    def _needed(self, source: Mapping[str, Any]) -> tuple[str, ...]:
        return (*self.columns, *self.target_columns(source))

    def _marks(
        self, objects: list[RawObject], fetch: Callable[[RawObject], bytes], source: Mapping[str, Any]
    ) -> dict[str, Mark]:
        """As declared, else as recorded at the first delivery, else as this delivery tells."""
        columns = self.number_columns(source)
        marks: dict[str, Mark] = {**(source.get("number_marks") or {}), **declared_marks(source, columns)}
        if any(name not in marks for name in columns):
            marks = {**self.number_marks(objects, fetch, source), **marks}
        return {name: marks[name] for name in columns}

    def _check_notation(self, rows: list[Example], marks: Mapping[str, Mark]) -> None:
        """Hold the numbers of a file against the marks of their columns: only cells with the other mark, or with two
        points, can tell that something is amiss, and any point where nothing is known of a column beside one with
        commas."""
        beside = column_with_commas(marks)
        for name, mark in marks.items():
            cells = "\n".join([str(one.values.get(name, "")) for one in rows])
            points = mark == "," or (mark == "" and beside is not None)
            if (mark != "," and ("," in cells or TWO_POINTS.search(cells))) or (points and "." in cells):
                seen = look(((one.where, one.values) for one in rows), [name])[name]
                check_file(name, seen, mark, beside=beside)

    def _record(
        self, example: Example, source: Mapping[str, Any], names: tuple[str, ...], marks: Mapping[str, Mark]
    ) -> tuple[Record | Reject, np.ndarray[Any, Any] | None]:
        """With the numbers of its input, float64, where it is a record."""
        where, values = example.where, example.values
        numbers = []
        for name in self.columns:
            try:
                numbers.append(read_number(values.get(name, ""), decimal=marks[name]))
            except CellError as error:
                return Reject(where=where, code=error.code, reason=f"{where}: column {name!r}: {error}"), None
        targets = self.target_columns(source)
        cells = [values.get(name, "") for name in targets]
        try:
            target = self.row_target(cells, decimal=marks.get(targets[0], "."))
        except Exception as error:  # noqa: BLE001 - a subclass's own: whatever it raises is about this row alone
            code = "unknown_label" if all(cells) else "missing_label"
            words = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            return Reject(where=where, code=code, reason=f"{where}: label {', '.join(cells)!r}, {words}"), None
        numbers_F = np.asarray(numbers, dtype=np.float64)
        identity = cells_digest(values, names)
        own = identity if example.id is None else None
        record = Record(
            id=identity if example.id is None else example.id,
            x=numbers_F.astype(np.float32),
            y=target,
            group=example.group if example.group is not None else own,
            columns=example.columns,
            content_sha256=hashlib.sha256(numbers_F[np.argsort(self.columns)].tobytes()).hexdigest(),
            row_digest=identity,
            row_columns=names,
            raw_digest=cells_digest(values, self.columns),
            where=where,
        )
        return record, numbers_F


class TableClassifier(TableWorkload):
    """One class per row. Override `build_model` to bring your own network: (B, F) to logits (B, C)."""

    task: Task = "classification"

    def __init__(
        self,
        *,
        columns: list[str],
        classes: list[str],
        hidden: int | list[int] = 32,
        dropout: float = 0.0,
        standardise: bool | list[str] | None = None,
    ) -> None:
        super().__init__(columns=columns, hidden=hidden, dropout=dropout, standardise=standardise)
        if len(classes) < 2 or len(set(classes)) != len(classes):
            raise ValueError(f"classes must be two or more different names, got {classes}")
        self.classes = tuple(str(name) for name in classes)

    def class_names(self) -> tuple[str, ...]:
        """As the pipeline file lists them."""
        return self.classes

    def target(self, text: str, *, decimal: Mark) -> int:  # noqa: ARG002 - a class is a name
        """Index of the class."""
        if text not in self.classes:
            raise ValueError(f"expected one of {', '.join(self.classes[:20])}")
        return self.classes.index(text)

    def build_model(self) -> nn.Module:
        """Two linear layers, or as many as `hidden` asks for."""
        return self.layers(len(self.classes))


class TableRegressor(TableWorkload):
    """One number per row. Override `build_model` to bring your own network: (B, F) to (B, 1)."""

    task: Task = "regression"

    def __init__(
        self,
        *,
        columns: list[str],
        hidden: int | list[int] = 32,
        dropout: float = 0.0,
        standardise: bool | list[str] | None = None,
    ) -> None:
        super().__init__(columns=columns, hidden=hidden, dropout=dropout, standardise=standardise)

    def class_names(self) -> tuple[str, ...]:
        """None."""
        return ()

    def target(self, text: str, *, decimal: Mark) -> float:
        """The number, where the objective can learn from it."""
        try:
            number = read_number(text, decimal=decimal)
        except CellError as error:
            raise ValueError(str(error)) from error
        refusal = self.objective.refusal(number, ())
        if refusal:
            raise ValueError(refusal)
        return number

    def build_model(self) -> nn.Module:
        """Two linear layers, or as many as `hidden` asks for."""
        return self.layers(1)


class TableMultiLabel(TableWorkload):
    """Any number of labels per row, each a column of 0 and 1. Override `build_model`: (B, F) to logits (B, C)."""

    task: Task = "multi_label"

    def __init__(
        self,
        *,
        columns: list[str],
        labels: list[str],
        hidden: int | list[int] = 32,
        dropout: float = 0.0,
        standardise: bool | list[str] | None = None,
    ) -> None:
        super().__init__(columns=columns, hidden=hidden, dropout=dropout, standardise=standardise)
        if len(labels) < 2 or len(set(labels)) != len(labels):
            raise ValueError(f"labels must be two or more different columns, got {labels}")
        both = sorted(set(labels) & set(columns))
        if both:
            raise ValueError(f"labels and columns must differ, got {', '.join(both)} in both")
        self.labels = tuple(str(name) for name in labels)

    def class_names(self) -> tuple[str, ...]:
        """The columns of the labels."""
        return self.labels

    def target_columns(self, source: Mapping[str, Any]) -> tuple[str, ...]:  # noqa: ARG002 - named by parameters
        """One per label."""
        return self.labels

    def row_target(self, cells: list[str], *, decimal: Mark) -> Target:  # noqa: ARG002 - 0 and 1 have no decimal sign
        """0 or 1 per label."""
        if not set(cells) <= {"0", "1"}:
            raise ValueError(f"expected 0 or 1 in each of {', '.join(self.labels[:20])}")
        return tuple(float(cell) for cell in cells)

    def build_model(self) -> nn.Module:
        """Two linear layers, or as many as `hidden` asks for."""
        return self.layers(len(self.labels))


class TableRanker(TableRegressor):
    """Rows of one query (`source.group_column`) against each other; the label is the relevance, 0 or more.

    Override `build_model` to bring your own network: (B, F) to scores (B, 1), higher first.
    """

    task: Task = "ranking"

    def records(
        self, objects: list[RawObject], fetch: Callable[[RawObject], bytes], source: Mapping[str, Any]
    ) -> Iterator[Record | Reject]:
        """As of a table. Raises ``ConfigurationError`` without a column that names the query."""
        if not source.get("group_column"):
            raise ConfigurationError("source.group_column: a ranking needs the column that names the query of a row")
        yield from super().records(objects, fetch, source)
