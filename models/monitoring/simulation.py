"""Traffic with a known truth, made from a pipeline's own rows: to try what is watched, and to measure the detectors.

Before the change rows are drawn as they are. After it: `covariate` draws rows with more of one field and keeps each
row's label, so what a label means for a row is unchanged; `label` draws more rows of one label; `concept` gives some
rows another label; `quality` breaks one field in some rows; `outage` leaves that field out of all of them.

Shape legend: N rows of the table, T rows of the traffic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.nearest import nearest_hint
from mlratchet.models.schema.fields import Kind

Array = np.ndarray[Any, Any]
Change = Literal["none", "covariate", "label", "concept", "quality", "outage"]
CHANGES: tuple[Change, ...] = get_args(Change)
FACTOR = 1000.0  # a number in another unit
TILTED: tuple[Kind, ...] = ("number", "category", "text", "letters", "entity")  # what more or less of can be drawn


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What was changed."""

    change: Change
    begins: int
    """Row of the traffic from which on it is changed; the number of rows where nothing is."""
    field: str
    """What was changed; empty for none."""
    size: float
    words: str
    """One line for a person."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Traffic:
    """Rows to send, in their order."""

    rows: pa.Table
    """(T,) the columns of the table, its label's column with the true label."""
    places: Array
    """(T,) row of the table that each was made from."""
    truth: Truth


def traffic(
    table: pa.Table,
    kinds: Mapping[str, Kind],
    label: str | None,
    *,
    change: Change,
    rows: int,
    begins: int,
    size: float = 1.0,
    field: str | None = None,
    seed: int = 0,
) -> Traffic:
    """Draw rows with a change from row `begins` on.

    Args:
        table: The pipeline's own rows.
        kinds: Kind of each field, without the label.
        label: Column of the label; None: the table has none.
        change: What is changed.
        rows: T.
        begins: How many are drawn before the change.
        size: Of the change. `covariate`: by how many standard deviations the field's mean is to move (by as much more
            of its most frequent value); `label`: the same of the label; `concept` and `quality`: the share of rows,
            at most 1.
        field: What is changed; None: the first field that can be.
        seed: The same gives the same.

    Raises ``ValueError`` for an unknown change or field, one that the table cannot have, and a size out of bounds.
    """
    if change not in CHANGES:
        raise ValueError(f"no change {change!r}; {nearest_hint(change, CHANGES)}")
    if not 0 <= begins <= rows or table.num_rows == 0:
        raise ValueError(f"expected 0 <= begins <= rows of a table with rows, got {begins}, {rows}, {table.num_rows}")
    if not size > 0 or (change in ("concept", "quality") and size > 1):
        raise ValueError(f"size of a change: got {size:g}, expected above 0" + (" and at most 1" if size > 1 else ""))
    rng = np.random.default_rng(seed)
    chosen = _chosen(change, kinds, label, field)
    weights = _tilt(table[chosen], size) if change in ("covariate", "label") else None
    before = rng.integers(0, table.num_rows, begins)
    after = rng.choice(table.num_rows, rows - begins, p=weights)
    places = np.concatenate([before, after])
    drawn = table.take(pa.array(places))
    if change in ("concept", "quality", "outage") and rows > begins:
        kept, changed = drawn[chosen].slice(0, begins), drawn[chosen].slice(begins)
        made = {"concept": _relabelled, "quality": _broken, "outage": _left_out}[change](changed, size, rng)
        column = pa.chunked_array([*_chunks(kept), *_chunks(made)], drawn[chosen].type)
        drawn = drawn.set_column(drawn.column_names.index(chosen), chosen, column)
    truth = Truth(
        change=change, begins=rows if change == "none" else begins, field=chosen, size=size,
        words=_words(change, chosen, size, begins),
    )  # fmt: skip
    return Traffic(rows=drawn, places=places, truth=truth)


def _chosen(change: Change, kinds: Mapping[str, Kind], label: str | None, field: str | None) -> str:
    if change == "none":
        return ""
    if change in ("label", "concept"):
        if label is None:
            raise ValueError(f"change {change}: the rows have no label; try covariate, quality or outage")
        return label
    fitting = [name for name, kind in kinds.items() if change != "covariate" or kind in TILTED]
    if field is not None and field not in fitting:
        raise ValueError(f"change {change}: no field {field!r} for it; {nearest_hint(field, fitting)}")
    if not fitting:
        raise ValueError(f"change {change}: no field can be drawn by what it holds; try label, concept or outage")
    return field if field is not None else fitting[0]


def _tilt(column: Any, size: float) -> Array:
    """(N,) chances that move the mean of a normal column by `size` standard deviations (exponential tilting)."""
    scores = _scores(column)
    scores = (scores - scores.mean()) / (scores.std() or 1.0)
    found = np.exp(np.clip(size * scores, -30, 30) - np.clip(size * scores, -30, 30).max())
    return np.asarray(found / found.sum())


def _scores(column: Any) -> Array:
    """(N,) a number as it is, a text by its length, a category by whether it is the most frequent."""
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        values = column.cast(pa.float64()).to_numpy()
        return np.where(np.isfinite(values), values, np.nanmean(values) if np.isfinite(values).any() else 0.0)
    counts = pc.value_counts(column)
    if len(counts) > column.length() / 2 and pa.types.is_string(column.type):
        return np.asarray(pc.fill_null(pc.utf8_length(column), 0).to_numpy(), dtype=float)
    most = max(counts.to_pylist(), key=lambda one: (one["counts"], str(one["values"])))["values"]
    return np.asarray([value == most for value in column.to_pylist()], dtype=float)


def _relabelled(column: Any, share: float, rng: np.random.Generator) -> Any:
    """Another label of the column for a share of the rows; of many numbers one that is drawn."""
    values = column.to_pylist()
    others = sorted({value for value in values if value is not None}, key=str)
    if len(others) < 2:
        raise ValueError("change concept: all rows have one label, so none has another")
    for place in np.flatnonzero(rng.random(len(values)) < share):
        other = others[int(rng.integers(0, len(others) - 1))]
        values[place] = others[-1] if other == values[place] else other
    return pa.chunked_array([pa.array(values, column.type)])


def _broken(column: Any, share: float, rng: np.random.Generator) -> Any:
    """A number in another unit; of everything else nothing."""
    hit = rng.random(len(column)) < share
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        values = column.to_numpy()
        return pa.chunked_array([pa.array(np.where(hit, values * FACTOR, values), from_pandas=True).cast(column.type)])
    return pa.chunked_array([pc.if_else(pa.array(hit), pa.scalar(None, column.type), column.combine_chunks())])


def _chunks(column: Any) -> list[Any]:
    return list(column.chunks) if isinstance(column, pa.ChunkedArray) else [column]


def _left_out(column: Any, _share: float, _rng: np.random.Generator) -> Any:
    return pa.chunked_array([pa.nulls(len(column), column.type)])


def _words(change: Change, field: str, size: float, begins: int) -> str:
    told = {
        "none": "nothing changes",
        "covariate": f"{field} moves by {size:g} standard deviations, labels stay true to their rows",
        "label": f"more rows of one {field}, by {size:g} standard deviations",
        "concept": f"{size:.0%} of the rows have another {field}",
        "quality": f"{field} is broken in {size:.0%} of the rows",
        "outage": f"{field} is missing in every row",
    }
    return told[change] + ("" if change == "none" else f", from row {begins} on")
