"""Tables: one row of numbers per record.

Shape legend: B rows, F columns, C classes.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.objectives.base import Task
from mlratchet.models.sources.base import Example
from mlratchet.models.sources.csv import Csv
from mlratchet.models.sources.raw_cells import cells_digest
from mlratchet.models.sources.record import InputSpec, RawObject, Record, Reject, Target, target_names
from mlratchet.models.workloads.base import Workload
from mlratchet.models.workloads.standardise import attach, fit, neutral
from torch import nn

if TYPE_CHECKING:
    import torch

DECIMAL_COMMA = re.compile(r"^[+-]?\d+,\d+([eE][+-]?\d+)?$")


class TableWorkload(Workload):
    """Named number columns in, one target out. Subclass one of the four below."""

    formats = (Csv,)

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

    def target(self, text: str, *, comma: bool) -> int | float:
        """The target of a label cell; `comma` as for `read_number`. Raises ``ValueError`` saying what was expected."""
        raise NotImplementedError

    def target_columns(self, source: Mapping[str, Any]) -> tuple[str, ...]:
        """Columns that hold the target: no input, and no slice."""
        return (str(source.get("label_column", "label")),)

    def row_target(self, cells: list[str], *, comma: bool) -> Target:
        """The target from the cells of `target_columns`. Raises ``ValueError`` saying what was expected."""
        return self.target(cells[0], comma=comma)

    def records(
        self, objects: list[RawObject], fetch: Callable[[RawObject], bytes], source: Mapping[str, Any]
    ) -> Iterator[Record | Reject]:
        """A record per example.

        Without an id column a record's id is the digest of its raw cells, label aside, in the columns of the pipeline's
        first delivery: a relabelled row keeps its id, a new column moves nobody, and equal rows stay on one side of the
        split.
        """
        found: list[Record | Reject] = []
        known: dict[tuple[str, ...], tuple[str, ...]] = {}  # one tuple for all rows of a table
        first = source.get("identity_columns") or ()
        needed = (*self.columns, *self.target_columns(source))
        aside = {*self.target_columns(source), source.get("id_column")}
        for one in self.examples(objects, fetch, source, columns=needed):
            if isinstance(one, Reject):
                found.append(one)
                continue
            names = tuple(name for name in (first or one.values) if name in one.values and name not in aside)
            found.append(self._record(one, source, known.setdefault(names, names)))
        yield from (found if source.get("id_column") else numbered(found, self.class_names()))

    def identity_columns(
        self, objects: list[RawObject], fetch: Callable[[RawObject], bytes], source: Mapping[str, Any]
    ) -> tuple[str, ...]:
        """Every column of its rows but label and id, by name."""
        needed = (*self.columns, *self.target_columns(source))
        read = self.examples(objects, fetch, source, columns=needed)
        names = {name for one in read if not isinstance(one, Reject) for name in one.values}
        return tuple(sorted(names - {*self.target_columns(source), source.get("id_column")}))

    def _record(self, example: Example, source: Mapping[str, Any], names: tuple[str, ...]) -> Record | Reject:
        where, values, comma = example.where, example.values, example.comma
        numbers = []
        for name in self.columns:
            try:
                numbers.append(read_number(values[name], comma=comma))
            except CellError as error:
                return Reject(where=where, code=error.code, reason=f"{where}: column {name!r}: {error}")
        cells = [values[name] for name in self.target_columns(source)]
        try:
            target = self.row_target(cells, comma=comma)
        except ValueError as error:
            code = "unknown_label" if all(cells) else "missing_label"
            return Reject(where=where, code=code, reason=f"{where}: label {', '.join(cells)!r}, {error}")
        x_F = np.asarray(numbers, dtype=np.float32)
        by_name = np.asarray(numbers, dtype=np.float64)[np.argsort(self.columns)]
        identity = cells_digest(values, names)
        own = identity if example.id is None else None
        return Record(
            id=identity if example.id is None else example.id,
            x=x_F,
            y=target,
            group=example.group if example.group is not None else own,
            columns=example.columns,
            content_sha256=hashlib.sha256(by_name.tobytes()).hexdigest(),
            row_digest=identity,
            row_columns=names,
            raw_digest=cells_digest(values, self.columns),
        )


def numbered(found: list[Record | Reject], class_names: tuple[str, ...]) -> Iterator[Record | Reject]:
    """Rows that are equal but for their label get numbers, in the order of the names of their labels: neither of the
    files nor of how a pipeline lists its classes."""
    same: dict[str, list[int]] = defaultdict(list)
    for place, one in enumerate(found):
        if isinstance(one, Record):
            same[one.id].append(place)
    for places in same.values():
        rows = sorted(
            (one for place in places if isinstance(one := found[place], Record)),
            key=lambda one: _by_label(one, class_names),
        )
        for number, (place, row) in enumerate(zip(places, rows, strict=True), 1):
            found[place] = replace(row, id=f"{row.id}-{number}") if number > 1 else row
    yield from found


def _by_label(record: Record, class_names: tuple[str, ...]) -> tuple[list[str], list[tuple[str, str]]]:
    label = sorted(target_names(record.y, class_names)) if class_names else [repr(record.y)]
    return label, sorted(record.columns.items())


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

    def target(self, text: str, *, comma: bool) -> int:  # noqa: ARG002 - a class is a name
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

    def target(self, text: str, *, comma: bool) -> float:
        """The number, where the objective can learn from it."""
        try:
            number = read_number(text, comma=comma)
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

    def row_target(self, cells: list[str], *, comma: bool) -> Target:  # noqa: ARG002 - 0 and 1 have no decimal sign
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


class CellError(ValueError):
    """A cell that is not a usable number; `code` is a short stable word."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def read_number(text: str, *, comma: bool) -> float:
    """A finite float32. `comma`: the file's delimiter is not the comma, so `1,5` is one and a half.

    Raises ``CellError``.
    """
    if not text:
        raise CellError("missing_value", "empty, expected a number")
    if comma and DECIMAL_COMMA.match(text):
        text = text.replace(",", ".")
    try:
        value = float(text)
    except ValueError as exc:
        raise CellError("not_a_number", f"got {text[:60]!r}, expected a number") from exc
    if not np.isfinite(value):
        raise CellError("non_finite", f"got {text}, expected a finite number")
    if abs(value) > float(np.finfo(np.float32).max):
        raise CellError("overflow", f"got {text}, expected at most {np.finfo(np.float32).max:.4g} in size")
    return value
