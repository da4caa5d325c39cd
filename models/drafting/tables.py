"""Draft the file of a table: of numbers alone for the table workloads, of anything else over its schema."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from mlratchet.models.drafting.baseline import Bar, bar_of_classes, bar_of_numbers
from mlratchet.models.drafting.commented import Commented
from mlratchet.models.drafting.delivery import LocalFiles
from mlratchet.models.drafting.rows import draft_rows
from mlratchet.models.drafting.schema_text import write_schema
from mlratchet.models.drafting.sections import Size, write_gates, write_split, write_training, write_written
from mlratchet.models.drafting.several_labels import infer_labels
from mlratchet.models.errors import DataError
from mlratchet.models.schema.infer import Proposal, infer
from mlratchet.models.schema.roles import Label

WORKLOAD = "mlratchet.models.workloads.tabular"
MOST_GAPS = 0.02  # of the rows may lack a number: each such row is set aside


@dataclass(frozen=True, kw_only=True)
class Usable:
    """What the table workloads can learn from: numbers that are given."""

    columns: tuple[str, ...]
    x: np.ndarray[Any, Any]  # (N, F) of the rows that are complete
    y: np.ndarray[Any, Any]  # (N,) names of classes, or numbers
    aside: int  # rows that lack the label or a column, and are set aside
    rows_by_group: Mapping[str, int] | None = None  # of those that are complete, where there are groups

    @property
    def rejected(self) -> float:
        """Of all rows."""
        return self.aside / (self.aside + len(self.y))


def draft_table(
    delivery: LocalFiles, name: str, labels: Sequence[str], rank: str | None = None
) -> tuple[str, list[str]]:
    """The text and the notes. `labels`: one that is learnt, or several that each say yes or no; `rank`: the column
    whose rows are ranked against each other.

    Raises ``DataError`` for a table without a label, or without a column to learn from.
    """
    if len(labels) > 1:
        return draft_rows(delivery, infer_labels(delivery.table, labels), name)
    proposal = infer(delivery.table, label=labels[0] if labels else None)
    if rank is not None:
        return draft_rows(delivery, proposal, name, rank=rank)
    if proposal.label is None:
        raise DataError(f"{delivery.files[0]}: no column can be a label; name one with --label")
    usable = usable_of(proposal, proposal.label)
    if delivery.kind != "table" or usable is None:
        return draft_rows(delivery, proposal, name)
    size = Size(rows=len(usable.y), sure=delivery.whole)
    notes = _notes(delivery, proposal, usable)
    out = Commented()
    out.remark(f"Drafted by `ratchet init` from {delivery.files[0].name}: {size.words()}. Every line can be changed.")
    out.entry("name", name)
    _write_workload(out, proposal.label, usable, size)
    _write_source(out, delivery, proposal, proposal.label, usable, name)
    out.section("schema", "what a row holds: `ratchet schema diff` holds new deliveries against it")
    write_schema(out, proposal, depth=1)
    write_split(out, size, usable.rows_by_group)
    write_training(out, size)
    notes += _write_gates(out, proposal.label, usable, size).notes()
    return out.text().lstrip("\n"), notes


def usable_of(proposal: Proposal, label: Label) -> Usable | None:
    """The inputs, where all are numbers that are given in nearly every row; else None."""
    if any(field.kind != "number" for field in proposal.schema.inputs.values()):
        return None
    target = proposal.columns[label.name]
    complete = given = np.asarray(target.values.is_valid())
    columns = tuple(proposal.schema.inputs)
    for name in columns:
        complete = complete & _given(proposal, name)
    if complete.sum() < (1 - MOST_GAPS) * given.sum():
        return None
    x = np.stack([np.asarray(proposal.columns[name].values.cast(pa.float64())) for name in columns], axis=1)
    y = target.values.cast(pa.float64()) if label.is_number else target.spelled(label.name)
    y_given = np.asarray(y.to_numpy(zero_copy_only=False))[complete]
    group = proposal.schema.group
    groups = None if group is None else _rows_by(proposal.columns[group].spelled(group).filter(pa.array(complete)))
    return Usable(
        columns=columns, x=x[complete], y=y_given, aside=int((~complete).sum()), rows_by_group=groups
    )  # fmt: skip


def _rows_by(groups: pa.Array) -> dict[str, int]:
    return Counter(one for one in groups.to_pylist() if one)


def _given(proposal: Proposal, name: str) -> np.ndarray[Any, Any]:
    return np.asarray(proposal.columns[name].values.is_valid())


def _write_workload(out: Commented, label: Label, usable: Usable, size: Size) -> None:
    regression = label.is_number
    out.section("workload")
    kind = "TableRegressor" if regression else "TableClassifier"
    out.entry("use", f"{WORKLOAD}:{kind}", "columns are standardised inside the model", depth=1)
    out.section("parameters", depth=1)
    out.section("columns", "the input, by name", depth=2)
    for name in usable.columns:
        out.item_text(name, depth=3)
    if not regression:
        out.entry("classes", label.classes, label.reason, depth=2)
    width = 32 if size.rows < 2_000 else 64
    out.entry("hidden", [width, width], "widths of the hidden layers", depth=2)
    if size.rows < 2_000:
        out.entry("dropout", 0.1, "few rows", depth=2)


def _write_source(
    out: Commented, delivery: LocalFiles, proposal: Proposal, label: Label, usable: Usable, name: str
) -> None:
    schema = proposal.schema
    out.section("source")
    out.entry("prefix", f"{name}/", f"`ratchet upload {name} FILE` puts files there", depth=1)
    out.entry("format", "csv", depth=1)
    write_written(out, delivery)
    out.entry("label_column", label.name, label.reason, depth=1)
    if schema.id is not None:
        out.entry("id_column", schema.id, "each value once, so it names a row", depth=1)
    if schema.group is not None:
        out.entry("group_column", schema.group, "its rows stay on one side of the split", depth=1)
    read = [*usable.columns, *([label.name] if label.is_number else [])]
    commas = {one: schema.fields[one].decimal for one in read if schema.fields[one].decimal is not None}
    if commas:
        out.entry("decimal", commas, "as they are written in what was looked at", depth=1)


def _write_gates(out: Commented, label: Label, usable: Usable, size: Size) -> Bar:
    if label.is_number:
        bar = bar_of_numbers(usable.x, usable.y, test_rows=size.test_rows)
        write_gates(out, size, bar, classes={}, spread=float(usable.y.std()), rejected=usable.rejected)
    else:
        bar = bar_of_classes(usable.x, usable.y, test_rows=size.test_rows)
        write_gates(out, size, bar, classes=dict(Counter(usable.y.tolist())), rejected=usable.rejected)
    return bar


def _notes(delivery: LocalFiles, proposal: Proposal, usable: Usable) -> list[str]:
    assert proposal.label is not None
    notes = [f"label {proposal.label.name!r} ({proposal.label.reason})"]
    notes += [f"{name!r} {words}: it is no input" for name, words in proposal.suspects.items()]
    notes += [f"{name!r} is not used: {words}" for name, words in proposal.open.items()]
    notes += [f"{name!r} {words}" for name, words in proposal.remarks.items()]
    if usable.aside:
        words = f"{usable.aside:,} of {proposal.rows:,} rows lack the label or a column of the model, and are set aside"
        notes.append(words)
    rare = _rare(usable, proposal.label)
    if rare:
        notes.append(rare)
    if delivery.others:
        notes.append(f"{len(delivery.others)} files are of another kind and were not looked at")
    return notes


def _rare(usable: Usable, label: Label) -> str:
    if label.is_number:
        return ""
    counts = Counter(usable.y.tolist())
    few = [name for name in label.classes if counts[name] < math.ceil(3 / 0.15)]
    return f"classes with few rows, so that a side may lack one: {', '.join(few)}" if few else ""
