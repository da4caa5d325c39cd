"""The model card: what a person should know of a version, in Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping


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
) -> str:
    """Markdown with origin and test metrics; an undefined metric is shown as such. `began_fresh`: why there is no
    parent although one was wanted."""
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
        f"- Work key: `{work_key}`",
        "",
        "| test metric | value |",
        "|---|---|",
    ]
    lines += [
        f"| {metric} | {f'{value:.4f}' if math.isfinite(value) else 'undefined'} |"
        for metric, value in sorted(metrics.items())
        if "_class_" not in metric  # the run has those
    ]
    return "\n".join(lines) + "\n"
