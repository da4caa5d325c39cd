"""Holds: what holds a pipeline stops its run after the data gate, unless this delivery is the one that ends it."""

from __future__ import annotations

import time

from mlratchet.models.decisions.gate_run import GateRun
from mlratchet.models.promotion.holds import Hold
from mlratchet.tasks.step import step
from mlratchet.tasks.steps.validate import newest_object_s
from mlratchet.tasks.support.holds import hold_book
from mlratchet.tasks.support.work import Work
from mlratchet.tasks.wiring import Run


@step("Look for holds")
def pass_holds(run: Run, work: Work, gate_run: GateRun) -> list[Hold]:
    """Lift what a later delivery answers, by the decision of its data gate; returns what was lifted.

    Raises ``GateRefusedError`` when anything is left, ``SecurityError`` for a chain that is not whole.
    """
    book, name = hold_book(run.adapters), run.spec.name
    held = book.standing(name)
    delivered_s = newest_object_s(run, work.snapshot_id, unreplaced=True) if held else None
    lifted = [hold for hold in held if hold.is_answered_by(delivered_s)]
    for hold in lifted:
        book.lift(
            name,
            finding=hold.entry.finding,
            reason=f"delivery {work.snapshot_id[:12]} came after it and passed the data gate",
            actor=run.actor,
            at_s=time.time(),
            decision=gate_run.decision,
            snapshot=work.snapshot_id,
        )
    book.refuse_held(name)
    return lifted
