"""Score: a batch of rows by one version."""

from __future__ import annotations

from mlratchet.models.scoring.outcome import ScoredBatch
from mlratchet.tasks.actions.score import Tell, score_batch
from mlratchet.tasks.showing.prefect_page import Progress
from mlratchet.tasks.step import step
from mlratchet.tasks.wiring import Adapters

__all__ = ["Tell", "score_rows"]


@step("Score the rows")
def score_rows(
    adapters: Adapters,
    pipeline: str,
    source: str,
    target: str,
    version: int | None,
    form: str | None,
    tell: Tell | None,
) -> ScoredBatch:
    """Every row below `source`; what a try before this one finished is not scored again. Raises as `score_batch`."""
    progress = Progress("scoring-progress", f"Rows of {source}")

    def both(done_bytes: int, total_bytes: int, scored: int, set_aside: int) -> None:
        progress.report(done_bytes, total_bytes, f"{scored:,} scored, {set_aside:,} set aside")
        if tell is not None:
            tell(done_bytes, total_bytes, scored, set_aside)

    return score_batch(adapters, pipeline, source, target, version=version, form=form, tell=both)
