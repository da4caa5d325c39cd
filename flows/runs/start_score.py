"""Start a scoring in this process: as the deployment would, with somebody watching."""

from __future__ import annotations

from typing import Any

from mlratchet.flows.parameters import ScoreParameters
from mlratchet.flows.runs.start import report_of
from mlratchet.flows.score import LISTENER, score
from mlratchet.models.scoring.places import place_of_uri
from mlratchet.tasks.steps.score import Tell
from mlratchet.tasks.wiring import open_adapters


def score_here(pipeline: str, parameters: ScoreParameters, tell: Tell | None) -> dict[str, Any]:
    """Run it; returns its report. Raises ``ConfigurationError`` without a stack, and for places that are none."""
    adapters = open_adapters()
    for place, what in ((parameters.source, "input"), (parameters.target, "output")):
        place_of_uri(place, what)
    token = LISTENER.set(tell)
    try:
        state = score(pipeline, parameters, return_state=True)
    finally:
        LISTENER.reset(token)
    return report_of(adapters, state, pipeline, what="scoring run", then="; the same command goes on")
