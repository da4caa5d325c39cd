"""Several columns that each say whether a row has a label: their fields in the schema, and what their gates ask for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.drafting.baseline import Bar, bar_of_label
from mlratchet.models.errors import DataError
from mlratchet.models.nearest import nearest_hint
from mlratchet.models.schema.column_kind import Guessed
from mlratchet.models.schema.fields import Field
from mlratchet.models.schema.infer import Proposal, infer
from mlratchet.models.schema.roles import label_of, leaks
from mlratchet.models.schema.typing import LABEL

YES = ("yes", "y", "true", "t", "1", "on", "ja", "wahr", "oui", "si", "sí", "positive", "pos")
FEWEST = 30  # test rows that have a label, and that have it not, from which a gate of its own can tell anything


def infer_labels(raw: pa.Table, labels: Sequence[str]) -> Proposal:
    """As `infer`, with `labels` in place of one label. Raises ``DataError`` for one that is not there or says neither
    yes nor no."""
    if len(set(labels)) != len(labels):
        raise DataError(f"--label: {', '.join(labels)}: each once, please")
    found = infer(raw, label=_first(raw, labels))
    fields, reasons, suspects = dict(found.schema.fields), dict(found.reasons), dict(found.suspects)
    for name in labels:
        fields[name], share = _yes_or_no(name, found.columns)
        reasons[name] = f"a label, as asked: {share:.0%} of the rows have it"
        suspects.pop(name, None)
        asked = label_of(found.columns, name)
        assert asked is not None
        suspects |= {other: words for other, words in leaks(found.columns, asked).items() if other not in labels}
    for name, words in suspects.items():
        fields[name] = fields[name].model_copy(update={"input": False})
        reasons[name] = f"no input: {words}, so it is no input unless it is known beforehand"
    aside = {role: None for role in ("id", "group", "time") if getattr(found.schema, role) in labels}
    schema = type(found.schema).model_validate(
        found.schema.model_dump(exclude={"label", "labels", "fields"})
        | aside
        | {"labels": list(labels), "fields": {name: one.model_dump() for name, one in fields.items()}}
    )
    return replace(found, schema=schema, reasons=reasons, suspects=suspects, label=None)


def _first(raw: pa.Table, labels: Sequence[str]) -> str:
    unknown = next((name for name in labels if name not in raw.column_names), None)
    if unknown is not None:
        raise DataError(f"no column {unknown!r}; {nearest_hint(unknown, raw.column_names)}")
    return labels[0]


def _yes_or_no(name: str, columns: dict[str, Guessed] | Any) -> tuple[Field, float]:
    """The field, and the share of the given rows that say yes."""
    one: Guessed = columns[name]
    if one.field.kind == "number":
        values = one.values.drop_null().cast(pa.float64())
        if not set(pc.unique(values).to_pylist()) <= {0.0, 1.0} or one.different != 2:
            raise DataError(f"column {name!r} is no label of several: {one.reason}; expected 0 and 1, or two words")
        return Field(kind="number"), float(pc.mean(values).as_py())
    words = pc.value_counts(one.values.drop_null()).to_pylist() if one.field.kind == "category" else []
    counts = {str(each["values"]): int(each["counts"]) for each in words}
    if len(counts) != 2:
        raise DataError(f"column {name!r} is no label of several: {one.reason}; expected 0 and 1, or two words")
    said = [word for word in counts if word.strip().lower() in YES]
    yes = said[0] if len(said) == 1 else min(sorted(counts), key=lambda word: counts[word])
    no = next(word for word in counts if word != yes)
    return Field(kind="category", values=(no, yes), missing=one.field.missing), counts[yes] / sum(counts.values())


def bars_of_labels(
    x: np.ndarray[Any, Any] | None, table: pa.Table, labels: Sequence[str], *, test_rows: int
) -> tuple[Bar, list[Bar], list[str]]:
    """Of all labels together, of each that has enough rows to be judged by, and those that have not.

    `table`: N typed rows; `x`: (N, F) of them, None where no linear model can be given any.
    """
    rows = table[LABEL].to_pylist()
    each, few, told = [], [], []
    for name in labels:
        y = np.asarray([name in (row or ()) for row in rows])
        rarer = int(min(y.mean(), 1 - y.mean()) * test_rows)
        bar = bar_of_label(x, y, metric=f"roc_auc_label_{name}", test_rows=max(rarer, 1))
        told.append(bar)
        if rarer < FEWEST:
            few.append(name)
        else:
            each.append(bar)
    floor = math.floor(100 * min(float(np.mean([one.floor for one in told])), 0.99)) / 100
    linear = float(np.mean([one.linear for one in told]))
    return Bar(metric="roc_auc_macro", trivial=0.5, linear=linear, floor=floor), each, few


def rarest(table: pa.Table, labels: Sequence[str], *, test_rows: int) -> int:
    """Test rows, about, that have the label that fewest have or lack."""
    rows = table[LABEL].to_pylist()
    shares = [sum(name in (row or ()) for row in rows) / max(len(rows), 1) for name in labels]
    return max(1, int(min(min(share, 1 - share) for share in shares) * test_rows))
