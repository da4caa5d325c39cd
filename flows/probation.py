"""After the promotion: probation on the live server, and the way back."""

from __future__ import annotations

from mlratchet.flows.runs.report import Report
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.registration.record import Registration
from mlratchet.tasks.steps.deploy import deploy
from mlratchet.tasks.steps.probation import go_back, judge_probation
from mlratchet.tasks.support.work import Work
from mlratchet.tasks.wiring import Run


def prove(run: Run, work: Work, record: Registration, entry: LedgerEntry, url: str, report: Report) -> None:
    """Judge the probation of a promotion; `fail` makes the champion before champion again. Nothing without one."""
    if not run.spec.gates.checks("probation"):
        return
    gate_run = judge_probation(run, work, record, entry, url)
    report.gated(gate_run, run.adapters.store)
    if gate_run.verdict == "inconclusive":
        report.undecided(gate_run)
    elif gate_run.verdict == "fail":
        back = go_back(run, entry, gate_run)
        if back is None:
            report.stays(entry, gate_run)
        else:
            report.rolled_back(entry, back, gate_run, deploy(run, back.version))
