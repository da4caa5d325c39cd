"""Which training rows are shown: for every class those with the smallest digests of their ids, the same ones each time.

Training rows alone: whoever looks at test rows begins to fit them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.profile.measure import labels_of
from mlratchet.models.profile.rows import RowBlock, RowLayout

SIDE = "train"
PER_CLASS, CLASSES, ALL = 8, 12, 40  # examples of a class; classes that are shown; examples where there are no classes


@dataclass(frozen=True, kw_only=True)
class ChosenRow:
    """One row to look at."""

    id: str
    label: str
    values: Mapping[str, Any]  # by field


class Choice:
    """The rows to show, while they stream by: no more than `PER_CLASS` of each class are held."""

    def __init__(self, layout: RowLayout) -> None:
        self._layout = layout
        self._held: dict[str, dict[str, ChosenRow]] = {}
        self._frequent: dict[str, int] = {}

    def see(self, block: RowBlock) -> None:
        """The rows of a block."""
        if block.side != SIDE:
            return
        labels = labels_of(block, self._layout)
        classes = bool(self._layout.class_names)
        keep = PER_CLASS if classes else ALL
        for row, identity in enumerate(block.ids):
            name = str(labels[row]) if classes else ""
            self._frequent[name] = self._frequent.get(name, 0) + 1
            held, key = self._held.setdefault(name, {}), digest_bytes(identity.encode())
            if len(held) == keep:
                last = max(held)
                if key >= last:
                    continue
                del held[last]
            values = {field: _copied(column[row]) for field, column in block.fields.items()}
            label = labels[row] if isinstance(labels[row], str) else f"{labels[row]:g}"
            held[key] = ChosenRow(id=identity, label=label, values=values)

    def rows(self) -> dict[str, list[ChosenRow]]:
        """By class, the most frequent first; under "" where there are no classes."""
        names = sorted(self._held, key=lambda name: (-self._frequent[name], name))[:CLASSES]
        return {name: [self._held[name][key] for key in sorted(self._held[name])] for name in names}

    @property
    def more_classes(self) -> int:
        """That are not shown."""
        return max(0, len(self._held) - CLASSES)


def _copied(value: Any) -> Any:
    """Not a view that would keep its block alive."""
    return value.copy() if hasattr(value, "copy") and not isinstance(value, dict) else value


def in_turn(rows: Mapping[str, Sequence[ChosenRow]], most: int) -> list[ChosenRow]:
    """One of each class after the other."""
    longest = max((len(one) for one in rows.values()), default=0)
    found = [one[at] for at in range(longest) for one in rows.values() if at < len(one)]
    return found[:most]
