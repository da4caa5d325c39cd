"""Why a run was asked for by monitoring, in the words of the finding that it verified."""

from __future__ import annotations

from mlratchet.models.monitoring.finding import Finding
from mlratchet.tasks.wiring import Run

BECAUSE, FINDING = "ratchet.because", "ratchet.finding"  # tags of a version and of a run in MLflow


def reason_of(finding: Finding) -> str:
    """As it stands in a ledger entry and a decision."""
    return f"because {finding.reason} (finding {finding.id[:12]})"


def because(run: Run) -> list[str]:
    """The reason, or nothing."""
    return [reason_of(run.because)] if run.because is not None else []


def because_tags(run: Run) -> dict[str, str]:
    """What MLflow shows of it."""
    return {BECAUSE: run.because.reason, FINDING: run.because.id} if run.because is not None else {}
