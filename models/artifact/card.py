"""The model card: what a person should know of a version, in Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


def model_card(
    *,
    name: str,
    description: str,
    owner: str,
    work_key: str,
    snapshot_id: str,
    dataset_id: str,
    parent_version: int | None,
    began_fresh: str = "",
    metrics: Mapping[str, float],
    workload: str,
    checks: Sequence[Mapping[str, str]] = (),
    plots: str = "",
    logged: str = "",
) -> str:
    """Markdown: origin, how to call it, what its gate measured, test metrics; an undefined one is shown as such.

    Args:
        began_fresh: Why there is no parent although one was wanted.
        checks: Of the candidate gate, a row each, as `models.decisions.decision.table` gives them.
        plots: Address of the training's pictures.
        logged: How many of the rows the inference log gave; empty: none.
    """
    start = f"version {parent_version}" if parent_version else began_fresh or "none, trained from scratch"
    lines = [
        f"# {name}",
        "",
        description or "(no description)",
        "",
        f"- Owner: {owner or 'not stated'}",
        f"- Workload: `{workload}`",
        f"- Warm start: {start}",
        f"- Snapshot: `{snapshot_id}`",
        f"- Dataset: `{dataset_id}`",
        *([f"- Rows {logged}"] if logged else []),
        f"- Work key: `{work_key}`",
        "",
        "## How to call it",
        "",
        f"- `ratchet predict {name} FILE` asks whichever version is champion",
        "- `POST /predict` of its server takes rows as JSON; its `/docs` shows them",
        f'- in Python: `mlflow.pyfunc.load_model("models:/{name}@champion")`',
        "",
        *_gate(checks),
        "## On the test rows",
        "",
        *([f"[Pictures of the training and of the test rows]({plots})", ""] if plots else []),
        "| test metric | value |",
        "|---|---|",
    ]
    lines += [
        f"| {metric} | {f'{value:.4f}' if math.isfinite(value) else 'undefined'} |"
        for metric, value in sorted(metrics.items())
        if "_class_" not in metric  # the run has those
    ]
    return "\n".join(lines) + "\n"


def _gate(checks: Sequence[Mapping[str, str]]) -> list[str]:
    """What the candidate gate asked and found; `ratchet decision` has the gates that came later."""
    if not checks:
        return []
    head = ("check", "metric", "value", "interval", "threshold", "verdict")
    rows = [" | ".join(check[name].replace("|", "/") or " " for name in head) for check in checks]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {row} |" for row in rows)]
    return ["## What the candidate gate measured", "", *lines, ""]
