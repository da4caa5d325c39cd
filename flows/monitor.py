"""The monitor flow: what the log of a pipeline says since the last look, and who is told of it.

Cheap where nothing is new. What follows from a finding is decided by the rules of `monitoring.actions`, and done here.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from mlratchet.flows.runs.naming import name_of_run
from mlratchet.flows.runs.report import tag_run
from mlratchet.models.errors import RatchetError
from mlratchet.tasks.actions.keep_watch import follow_up
from mlratchet.tasks.actions.monitor import DAY_S, LookOver, Story, labels_in_doubt, story_of, take_up
from mlratchet.tasks.showing.monitor_pages import finding_rows, show_windows, write_gauges
from mlratchet.tasks.showing.prefect_page import show_link, show_table
from mlratchet.tasks.wiring import Adapters, open_adapters
from prefect import flow
from prefect.client.schemas.objects import State, StateType
from prefect.runtime import flow_run as current

logger = logging.getLogger(__name__)
SHOWN_DAYS = 7.0  # of windows on the page
MOST_ROWS = 50  # of the table


@flow(name="monitor", flow_run_name=name_of_run, validate_parameters=True)
def monitor(pipeline: str) -> State[Any]:
    """Look at one pipeline's log: measure the windows that ended, and tell what is found.

    Args:
        pipeline: Name of the pipeline.
    """
    adapters = open_adapters()
    try:
        looked = take_up(adapters, pipeline)
        done = follow_up(adapters, pipeline)  # before it is shown: MLflow may be away
        if looked.windows or looked.findings:
            show(adapters, story_of(adapters, pipeline, since_s=time.time() - SHOWN_DAYS * DAY_S), looked)
        done += labels_in_doubt(adapters, pipeline)
    except RatchetError as error:
        return State(type=StateType.FAILED, message=error.line())
    alarms = [one for one in looked.findings if one.severity == "alarm"]
    said = "; ".join([f"{len(looked.windows)} windows, {len(looked.findings)} findings, {len(alarms)} alarms", *done])
    if alarms:
        tag_run(str(current.id), "alarm")
    return State(type=StateType.COMPLETED, message=said if looked.windows or looked.findings or done else "nothing new")


def show(adapters: Adapters, story: Story, looked: LookOver) -> None:
    """Where people look. Nothing of it fails the look: the records are in the bucket."""
    write_gauges(adapters, story)
    url = show_windows(adapters, story, flow_run=str(current.id))
    try:
        if url is not None:
            show_link("monitoring", url, "Windows over time, in MLflow")
        if looked.findings:
            show_table("findings", finding_rows(looked.findings)[:MOST_ROWS], f"Findings of {story.pipeline}")
    except Exception:  # Prefect's API is away: the records are in the bucket
        logger.warning("findings of %s are not shown in Prefect", story.pipeline, exc_info=True)
