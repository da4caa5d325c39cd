"""What a person sees of a pipeline's windows: a run per window in MLflow, a table and a page in Prefect. A projection:
it never is the reason that a look fails."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mlratchet.infra.machine.atomic import write_atomically
from mlratchet.infra.machine.temporary import temporary_folder
from mlratchet.models.errors import InfrastructureError
from mlratchet.models.identity.canonical import digest
from mlratchet.models.moments import utc
from mlratchet.models.monitoring.finding import Finding
from mlratchet.models.monitoring.gauges import gauges_text
from mlratchet.models.monitoring.window import WindowRecord
from mlratchet.tasks.actions.monitor import Story
from mlratchet.tasks.wiring import Adapters

logger = logging.getLogger(__name__)
OVER_TIME = "windows"  # the run whose metrics are curves over all windows
COUNTS = ("rows", "requests", "errors", "refused", "dropped", "labelled")
PAGE = "monitoring.html"
SHOWN = "findings"  # a figure that every window has, logged behind the others
MOST_SHOWN = 500  # windows of one look


def experiment_of(pipeline: str) -> str:
    """Beside the pipeline's own, so that its trainings stay comparable."""
    return f"{pipeline}-monitoring"


def show_windows(adapters: Adapters, story: Story, *, flow_run: str) -> str | None:
    """A run for each window that has none, as those of a look that was killed, of `ratchet monitor NAME`, and of while
    MLflow was away; its figures as points of the curves over all of them, and the page. Returns where a person looks at
    it; None where MLflow is away."""
    tracker, name = adapters.tracker, story.pipeline
    try:
        curves = tracker.open_run(
            experiment_of(name), work_key=digest([name, OVER_TIME]), flow_run=flow_run, name=f"{name} over time",
            tags={"ratchet.pipeline": name},
        )  # fmt: skip
        shown = tracker.logged_steps(curves, SHOWN)
        for record in [one for one in story.windows if one.number not in shown][-MOST_SHOWN:]:
            points, at_s = points_of(record), record.window.to_s
            own = tracker.open_run(
                experiment_of(name), work_key=record.digest(), flow_run=flow_run,
                name=f"{name} {window_name(record)}",
                tags={"ratchet.pipeline": name, "ratchet.version": str(record.version)},
            )  # fmt: skip
            tracker.log_params(own, {"window": str(record.number), "version": str(record.version)})
            tracker.log_metrics(own, [(key, value, 0) for key, value in points], times_s=[at_s] * len(points))
            tracker.end_run(own, status="FINISHED")
            tracker.log_metrics(
                curves, [(key, value, record.number) for key, value in points], times_s=[at_s] * len(points)
            )
        with temporary_folder("monitoring") as folder:
            page = Path(folder) / PAGE
            page.write_text(story.page(), encoding="utf-8")
            tracker.log_files(curves, {PAGE: page})
        tracker.end_run(curves, status="FINISHED")
        return tracker.run_url(curves, "artifacts")
    except InfrastructureError as error:
        logger.warning("windows of %s in MLflow: %s; they are in the bucket", name, error)
        return None


def window_name(record: WindowRecord) -> str:
    """`2026-11-20 09:00`, with seconds where it begins between two minutes."""
    return utc(record.window.from_s).replace("T", " ").removesuffix("Z").removesuffix(":00")


def write_gauges(adapters: Adapters, story: Story) -> None:
    """What Prometheus is told of the newest window, where the installation has a folder for it."""
    folder = adapters.settings.metrics_folder
    if folder is None or not story.windows:
        return
    try:
        write_atomically(folder / f"ratchet-{story.pipeline}.prom", gauges_text([(story.windows[-1], story.reference)]))
    except OSError as error:
        logger.warning("%s: what Prometheus is told of %s cannot be written: %s", folder, story.pipeline, error)


def points_of(record: WindowRecord) -> list[tuple[str, float]]:
    """Name and value of every figure, with the ends of its interval."""
    found: list[tuple[str, float]] = [(f"rows/{name}", float(record.counts.get(name, 0))) for name in COUNTS]
    for name, figure in record.figures.items():
        plain = name.replace(" ", "/", 1).replace("=", " is ")
        found.append((plain, figure.value))
        for end, value in (("low", figure.low), ("high", figure.high)):
            if value is not None:
                found.append((f"{plain}_{end}", value))
    return [*found, (SHOWN, float(len(record.findings)))]


def finding_rows(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """For a table in Prefect."""
    return [
        {
            "severity": one.severity, "kind": one.kind, "subject": one.subject, "what": one.words,
            "window": utc(one.window.from_s), "version": one.version, "id": one.id[:12],
        }
        for one in findings
    ]  # fmt: skip
