"""Attribute: which inputs the outputs come from, compared with the champion's, with pictures."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from mlratchet.models.evaluation.attribution_plots import attribution_plots
from mlratchet.models.evaluation.explain import Attributions, Shift, explain, moved_most, sample_rows, shift
from mlratchet.models.gates.evidence import AttributionShift
from mlratchet.models.gates.needs import Demands
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.sources.record import Split
from mlratchet.tasks.wiring import Run

logger = logging.getLogger(__name__)
Model = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class Attributed:
    """The evidence, and what a person looks at."""

    shift: AttributionShift | None = None
    digest: str | None = None  # of `attributions/<digest>.json`
    pictures: dict[str, bytes] = field(default_factory=dict)  # file name -> bytes
    missing: str = ""  # why there are none


def attribute(run: Run, rows: Split, demands: Demands, candidate: Model, champion: Model | None) -> Attributed:
    """Explain both models on the same sample of test rows, when a check or the pipeline file asks for it."""
    config = run.spec.evaluation
    if not (demands.attributions or config.attributions):
        return Attributed()
    chosen = sample_rows(rows, config.attribution_rows, config.seed)
    x, y = rows.x[chosen], rows.y[chosen]
    models = {"candidate": candidate} | ({"champion": champion} if champion is not None else {})
    spec = run.workload.input_spec()
    try:
        found = explain(models, x, y, task=run.workload.task, input_spec=spec, steps=config.attribution_steps)
    except Exception as error:  # noqa: BLE001 - a user's model may refuse in any way; a check then finds no evidence
        why = f"{type(error).__name__}: {error}"[:300]
        logger.warning("no attributions: %s", why)
        return Attributed(missing=why)
    slices = slice_names(run, rows, demands, chosen)
    moved = shift(found["candidate"], found["champion"], seed=config.seed) if "champion" in found else None
    body = document(found, [rows.ids[i] for i in chosen], slices, moved)
    digest = digest_bytes(body)
    run.adapters.store.create(f"attributions/{digest}.json", body)
    titles = [f"{rows.ids[i]}: {label}"[-24:] for i, label in zip(chosen, labels_of(run, y), strict=True)]
    pictures: dict[str, bytes] = {}
    try:
        pictures = attribution_plots(x, found, spec, slices, titles)
    except Exception as error:  # noqa: BLE001 - an input that cannot be drawn is evidence all the same
        logger.warning("attributions are not drawn: %s: %s", type(error).__name__, error)
    return Attributed(
        shift=evidence_of(moved, found, spec.columns) if moved is not None else None,
        digest=digest,
        pictures={**pictures, "attributions.json": body},
    )


def evidence_of(moved: Shift, found: dict[str, Attributions], names: tuple[str, ...]) -> AttributionShift:
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
    return labels_of(run, rows.y[chosen]) if run.workload.task == "classification" else [""] * len(chosen)


def labels_of(run: Run, y: np.ndarray[Any, Any]) -> list[str]:
    """Targets as a person reads them."""
    names = run.workload.class_names()
    if run.workload.task == "classification":
        return [names[int(one)] for one in y]
    if run.workload.task == "multi_label":
        return ["+".join(name for name, on in zip(names, row, strict=True) if on > 0) or "-" for row in y]
    return [f"{float(one):.3g}" for one in y]


def document(found: dict[str, Attributions], ids: list[str], slices: list[str], moved: Shift | None) -> bytes:
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
