"""What a run is called in Prefect and, beside its training, in MLflow."""

from __future__ import annotations

import datetime as dt

from prefect.runtime import flow_run


def name_of_run() -> str:
    """`digits 2026-11-26 03:00`: the pipeline and the minute (UTC) for which the run was scheduled."""
    when = flow_run.scheduled_start_time or dt.datetime.now(dt.UTC)
    flow = "" if flow_run.flow_name == "retrain" else f"{flow_run.flow_name} "
    return f"{flow}{flow_run.parameters.get('pipeline', 'retrain')} {when.astimezone(dt.UTC):%Y-%m-%d %H:%M}"
