"""Why a run trains although the raw objects are those that the champion was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlratchet.models.identity.difference import differences
from mlratchet.models.registration.record import MadeOf, Registration

SHOWN = 6  # phrases of a line
MADE_FROM_PARTS = ("snapshot", "dataset")  # of a work key: said by their own parts


def why_anew(champion: Registration | None, made_of: MadeOf) -> str:
    """One line, or nothing where there is no champion or its raw objects were others: new data needs no reason.

    Args:
        champion: Its record.
        made_of: Of this run's work.
    """
    if champion is None or champion.snapshot_id != made_of.work["snapshot"]:
        return ""
    if champion.made_of is None:
        return (
            f"version {champion.version} was trained by an earlier release, whose identities were over folders: this "
            "run trains anew, once"
        )
    before, now = champion.made_of, made_of
    phrases = [
        *differences(_own(before.work), _own(now.work), ratchet="trains"),
        *differences(_own(before.dataset), _own(now.dataset), ratchet="makes datasets"),
    ]
    moved = list(dict.fromkeys(phrases))  # the workload's code stands in both
    if not moved:  # the champion's key is another, and its parts are ours: the record says nothing of use
        return ""
    more = f" and {len(moved) - SHOWN} more" if len(moved) > SHOWN else ""
    parts = "; ".join(moved[:SHOWN])
    return f"trains anew, since version {champion.version} was trained from other parts: {parts}{more}"


def _own(parts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parts.items() if name not in MADE_FROM_PARTS}
