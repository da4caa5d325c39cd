"""Between the data gate and the rest of the road: a pipeline that is held goes no further."""

from __future__ import annotations

from mlratchet.flows.runs.report import Report
from mlratchet.models.decisions.gate_run import GateRun
from mlratchet.tasks.steps.holds import pass_holds
from mlratchet.tasks.support.holds import hold_book
from mlratchet.tasks.support.work import Work
from mlratchet.tasks.wiring import Run


def stop_if_held(run: Run, work: Work, data: GateRun, report: Report) -> None:
    """Nothing where nothing holds it. Raises ``GateRefusedError`` for a hold that this delivery does not end."""
    if hold_book(run.adapters).standing(run.spec.name):  # a step shows in Prefect: none without a hold
        report.lifted(pass_holds(run, work, data))


def tell_holds(run: Run, report: Report) -> None:
    """Of a run that ends before the data gate: it changed nothing, and a hold stands all the same."""
    report.held(hold_book(run.adapters).standing(run.spec.name))
