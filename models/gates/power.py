"""Power at the time a policy is written: which differences can these test rows show?"""

from __future__ import annotations

from mlratchet.models.gates.pilot import Pilot
from mlratchet.models.gates.policy import GatePolicy


def power_notes(policy: GatePolicy, pilot: Pilot) -> list[str]:
    """A note for every statistical check that the test rows cannot support, or of which it cannot be said yet."""
    notes = ((f"gates.{gate}.{number}", check.power_note(pilot)) for gate, number, check in policy.all_checks())
    return [f"{where}: {note}" for where, note in notes if note]
