"""Where the groups of a delivery fall: few of them can leave a side of the split empty."""

from __future__ import annotations

from collections.abc import Mapping

from mlratchet.models.data.split import side_of
from mlratchet.models.data.split_rules import SplitConfig

FEW_GROUPS = 200  # of more than that the hash alone gives sides of about their shares
TRIES = 200  # salts that are tried
LEAST = 0.5  # of the share that a side is to have, in rows


def salt_of(rows_by_group: Mapping[str, int], *, validation: float, test: float) -> str | None:
    """A salt under which each side has at least half of its share of the rows and one group; None where the usual
    one does, and where none of those that are tried does. It looks at how many rows a group has and at nothing else.
    """
    usual = SplitConfig(validation=validation, test=test)
    if len(rows_by_group) > FEW_GROUPS:
        return None
    for salt in (usual.salt, *(f"{usual.salt}-{number}" for number in range(2, TRIES))):
        if _fair(rows_by_group, usual.model_copy(update={"salt": salt})):
            return None if salt == usual.salt else salt
    return None


def _fair(rows_by_group: Mapping[str, int], rule: SplitConfig) -> bool:
    counts = {"train": 0, "validation": 0, "test": 0}
    for group, rows in rows_by_group.items():
        counts[side_of(group, rule)] += rows
    shares = {"train": 1 - rule.validation - rule.test, "validation": rule.validation, "test": rule.test}
    total = sum(counts.values())
    return all(counts[side] >= max(1, LEAST * share * total) for side, share in shares.items())
