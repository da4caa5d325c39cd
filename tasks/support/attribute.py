"""Attribute: which inputs the outputs come from, compared with the champion's, with pictures."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from mlratchet.models.evaluation.attribution_plots import attribution_plots
from mlratchet.models.evaluation.away import ModelAway, ask_away
from mlratchet.models.evaluation.explain import (
    Attributions,
    ImportanceShift,
    attributed_shape,
    by_column,
    explain,
    moved_most,
    part_names_of,
    sample_rows,
    shift,
)
from mlratchet.models.evaluation.in_child import inputs_sent, narrowed
from mlratchet.models.gates.evidence import AttributionShift
from mlratchet.models.gates.needs import Demands
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.objectives.naming import objective_of
from mlratchet.models.ports.children import ForeignCodeError
from mlratchet.models.sources.record import InputSpec, Split
from mlratchet.models.tensors.batch import Model
from mlratchet.models.tensors.named import Inputs
from mlratchet.tasks.support.examples import Examples
from mlratchet.tasks.support.open_version import Version
from mlratchet.tasks.wiring import Run

ATTRIBUTIONS = "mlratchet.models.evaluation.in_child:attributions"
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Attributed:
    """The evidence, and what a person looks at."""

    shift: AttributionShift | None = None
    digest: str | None = None  # of `attributions/<digest>.json`
    pictures: dict[str, bytes] = field(default_factory=dict)  # file name -> bytes
    missing: str = ""  # why there are none


def attribute(
    run: Run, examples: Examples, demands: Demands, candidate: Model | ModelAway, champion: Version | None
) -> Attributed:
    """Explain both models on the same sample of test rows, when a check or the pipeline file asks for it: each on its
    own columns, about the classes or labels that both know."""
    config, rows, spec = run.spec.evaluation, examples.rows, run.workload.input_spec()
    if not (demands.attributions or config.attributions):
        return Attributed()
    asked = questions_of(examples, candidate, champion, sample_rows(rows, config.attribution_rows, config.seed))
    chosen, x = asked.chosen, rows.x.take(asked.chosen)
    steps = config.attribution_steps
    try:
        found = explain_all(asked, run.workload.objective.reference, spec, steps)
        found = by_column(found, asked.columns)
    except Exception as error:  # noqa: BLE001 - a user's model may refuse in any way; a check then finds no evidence
        why = f"{type(error).__name__}: {error}"[:300]
        logger.warning("no attributions: %s", why)
        return Attributed(missing=why)
    slices = slice_names(run, rows, demands, chosen)
    moved = shift(found["candidate"], found["champion"], seed=config.seed) if "champion" in found else None
    names = tuple(dict.fromkeys(name for columns in asked.columns.values() for name in columns))
    body = document(found, [rows.ids[i] for i in chosen], slices, moved, names)
    digest = digest_bytes(body)
    run.adapters.store.create(f"attributions/{digest}.json", body)
    labels = run.workload.objective.wanted(rows.y[chosen], run.workload.class_names())
    titles = [f"{rows.ids[i]}: {label}"[-24:] for i, label in zip(chosen, labels, strict=True)]
    pictures: dict[str, bytes] = {}
    try:
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
    models: dict[str, Model | ModelAway]
    places: dict[str, list[int]]  # which outputs of a model are asked about, in the order of common names; empty: all
    inputs: dict[str, Inputs]  # the rows as each model takes them
    columns: dict[str, tuple[str, ...]]  # of tables; of named tensors, their parts
    y: np.ndarray[Any, Any]  # in the order of the names that all models know


def questions_of(
    examples: Examples, candidate: Model | ModelAway, champion: Version | None, chosen: np.ndarray[Any, Any]
) -> Questions:
    """Without a champion every row and class; with one the rows that it can be asked about, and common names."""
    rows, ours = examples.rows, examples.layout
    if champion is None:
        return Questions(
            chosen=chosen,
            models={"candidate": candidate},
            places={},
            inputs={"candidate": rows.x.take(chosen)},
            columns={"candidate": names_of(rows.x, ours.input)},
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
        models={"candidate": candidate, "champion": champion.program},
        places={"candidate": mine, "champion": other},
        inputs={"candidate": rows.x.take(chosen), "champion": x.take(chosen)},
        columns={"candidate": names_of(rows.x, ours.input), "champion": names_of(x, theirs.input)},
        y=y,
    )


def names_of(x: Inputs, spec: InputSpec) -> tuple[str, ...]:
    """Of the values that attributions are about, where they have names."""
    return spec.columns or part_names_of(x)


def explain_all(asked: Questions, task: str, spec: InputSpec, steps: int) -> dict[str, Attributions]:
    """Both models, by the same method: in one child, where models are away."""
    away = {name: model for name, model in asked.models.items() if isinstance(model, ModelAway)}
    here = {
        name: narrowed(model, asked.places.get(name, []))
        for name, model in asked.models.items()
        if not isinstance(model, ModelAway)
    }
    if not away:
        return explain(here, asked.inputs, asked.y, objective=objective_of(task), input_spec=spec, steps=steps)
    arrays = inputs_sent(asked.inputs) | {"y": asked.y}
    request = {"places": asked.places, "task": task, "input_spec": asdict(spec), "steps": steps}
    told = ask_away(ATTRIBUTIONS, {"models": away}, arrays, request)
    method = told["method"].tobytes().decode(errors="replace")
    found = {}
    for name, x in asked.inputs.items():
        values = told[f"values.{name}"]
        shape = attributed_shape(x)
        if values.shape != shape or not np.isfinite(values).all():
            raise ForeignCodeError(f"attributions of the {name}: got {values.shape}, expected finite ones of {shape}")
        found[name] = Attributions(values=values, method=method, completeness=float(told[f"completeness.{name}"][0]))
    return found


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


def document(
    found: dict[str, Attributions], ids: list[str], slices: list[str], moved: ImportanceShift | None,
    names: tuple[str, ...] = (),
) -> bytes:  # fmt: skip
    """What was computed, as canonical JSON. `names`: of the values that importances are of."""
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
    return canonical_json({"ids": ids, "slices": slices, "models": models, "shift": facts, "names": list(names)})
