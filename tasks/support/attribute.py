"""Attribute: which inputs the outputs come from, compared with the champion's, with pictures."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from mlratchet.models.evaluation.attribution_plots import attribution_plots
from mlratchet.models.evaluation.explain import (
    Attributions,
    ImportanceShift,
    by_column,
    explain,
    moved_most,
    sample_rows,
    shift,
)
from mlratchet.models.gates.evidence import AttributionShift
from mlratchet.models.gates.needs import Demands
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.sources.record import Split
from mlratchet.tasks.support.examples import Examples
from mlratchet.tasks.support.open_version import Model, Version
from mlratchet.tasks.wiring import Run

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Attributed:
    """The evidence, and what a person looks at."""

    shift: AttributionShift | None = None
    digest: str | None = None  # of `attributions/<digest>.json`
    pictures: dict[str, bytes] = field(default_factory=dict)  # file name -> bytes
    missing: str = ""  # why there are none


def attribute(run: Run, examples: Examples, demands: Demands, candidate: Model, champion: Version | None) -> Attributed:
    """Explain both models on the same sample of test rows, when a check or the pipeline file asks for it: each on its
    own columns, about the classes or labels that both know."""
    config, rows, spec = run.spec.evaluation, examples.rows, run.workload.input_spec()
    if not (demands.attributions or config.attributions):
        return Attributed()
    asked = questions_of(examples, candidate, champion, sample_rows(rows, config.attribution_rows, config.seed))
    chosen, x = asked.chosen, rows.x[asked.chosen]
    steps = config.attribution_steps
    try:
        found = explain(
            asked.models, asked.inputs, asked.y, objective=run.workload.objective, input_spec=spec, steps=steps
        )
        found = by_column(found, asked.columns)
    except Exception as error:  # noqa: BLE001 - a user's model may refuse in any way; a check then finds no evidence
        why = f"{type(error).__name__}: {error}"[:300]
        logger.warning("no attributions: %s", why)
        return Attributed(missing=why)
    slices = slice_names(run, rows, demands, chosen)
    moved = shift(found["candidate"], found["champion"], seed=config.seed) if "champion" in found else None
    body = document(found, [rows.ids[i] for i in chosen], slices, moved)
    digest = digest_bytes(body)
    run.adapters.store.create(f"attributions/{digest}.json", body)
    labels = run.workload.objective.wanted(rows.y[chosen], run.workload.class_names())
    titles = [f"{rows.ids[i]}: {label}"[-24:] for i, label in zip(chosen, labels, strict=True)]
    pictures: dict[str, bytes] = {}
    try:
        names = tuple(dict.fromkeys(name for columns in asked.columns.values() for name in columns))
        pictures = attribution_plots(x, found, replace(spec, columns=names), slices, titles)
    except Exception as error:  # noqa: BLE001 - an input that cannot be drawn is evidence all the same
        logger.warning("attributions are not drawn: %s: %s", type(error).__name__, error)
    return Attributed(
        shift=evidence_of(moved, found, names) if moved is not None else None,
        digest=digest,
        pictures={**pictures, "attributions.json": body},
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Questions:
    """What is explained, of which rows."""

    chosen: np.ndarray[Any, Any]  # places of the rows
    models: dict[str, Model]
    inputs: dict[str, np.ndarray[Any, Any]]  # the rows as each model takes them
    columns: dict[str, tuple[str, ...]]  # of tables
    y: np.ndarray[Any, Any]  # in the order of the names that all models know


def questions_of(
    examples: Examples, candidate: Model, champion: Version | None, chosen: np.ndarray[Any, Any]
) -> Questions:
    """Without a champion every row and class; with one the rows that it can be asked about, and common names."""
    rows, ours = examples.rows, examples.layout
    if champion is None:
        return Questions(
            chosen=chosen,
            models={"candidate": candidate},
            inputs={"candidate": rows.x[chosen]},
            columns={"candidate": ours.input.columns},
            y=rows.y[chosen],
        )
    taken = examples.take(champion)
    x, unreadable = taken.x, taken.unreadable
    theirs = champion.signature
    common = [name for name in ours.classes if name in theirs.classes]
    mine, other = [[names.index(name) for name in common] for names in (ours.classes, theirs.classes)]
    single = rows.y.ndim == 1 and bool(ours.classes)
    kept = [i for i in chosen if rows.ids[i] not in unreadable and not (single and rows.y[i] not in mine)]
    chosen = np.asarray(kept, dtype=np.int64)
    y = rows.y[chosen]
    if common:
        y = np.searchsorted(mine, y).astype(y.dtype) if single else np.ascontiguousarray(y[:, mine])
    return Questions(
        chosen=chosen,
        models={"candidate": narrowed(candidate, mine), "champion": narrowed(champion.program, other)},
        inputs={"candidate": rows.x[chosen], "champion": x[chosen]},
        columns={"candidate": ours.input.columns, "champion": theirs.input.columns},
        y=y,
    )


def narrowed(model: Model, places: list[int]) -> Model:
    """The model with these outputs alone, in this order; as it is where outputs have no names."""
    return (lambda x: model(x)[:, places]) if places else model


def evidence_of(moved: ImportanceShift, found: dict[str, Attributions], names: tuple[str, ...]) -> AttributionShift:
    """For the gate."""
    return AttributionShift(
        value=moved.value,
        n=moved.n,
        method=moved.method,
        detail=f"moved most: {moved_most(found['candidate'], found['champion'], names)}",
        interval=(moved.low, moved.high),
    )


def slice_names(run: Run, rows: Split, demands: Demands, chosen: np.ndarray[Any, Any]) -> list[str]:
    """The slice of each sampled row: by the columns that checks slice by, else by class."""
    columns = [name for name in demands.columns if name in rows.columns]
    if columns:
        return [", ".join(f"{name}={rows.columns[name][i]}" for name in columns) for i in chosen]
    names = run.workload.class_names()
    one_class_each = bool(names) and rows.y.ndim == 1
    return run.workload.objective.wanted(rows.y[chosen], names) if one_class_each else [""] * len(chosen)


def document(found: dict[str, Attributions], ids: list[str], slices: list[str], moved: ImportanceShift | None) -> bytes:
    """What was computed, as canonical JSON."""
    models = {
        name: {
            "method": one.method,
            "completeness_gap": one.completeness if np.isfinite(one.completeness) else None,
            "importance": [float(v) if np.isfinite(v) else None for v in one.importance()],
        }
        for name, one in found.items()
    }
    finite = moved is not None and np.isfinite(moved.value)
    facts = {"value": moved.value, "interval": [moved.low, moved.high], "n": moved.n} if moved and finite else None
    return canonical_json({"ids": ids, "slices": slices, "models": models, "shift": facts})
