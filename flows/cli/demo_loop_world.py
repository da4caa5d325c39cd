"""The worlds of the demo of the loop: what is asked and what turns out to be true, before something changes and after.

Loans: who pays one back. One rule everywhere, another one in the EU, where hardly any of the first loans were given.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from mlratchet.models.drafting.sample_data import table_file
from mlratchet.models.monitoring.traffic import OwnRows

COLUMNS = ("income", "owed", "age", "region", "paid")
ELSEWHERE = ("north", "south", "west")
AT_FIRST, AFTER = 0.02, 0.7  # shares of rows in the part of the world that has a rule of its own


class LoopWorld(Protocol):
    """What a pipeline of the demo is about."""

    name: str
    """Of the pipeline: its file lies in `deployments/pipelines/loop/`."""
    changes: str
    """What the world does at the drift, in words."""
    spoils: str
    """What clients do wrong when data go bad, in words."""

    def rows(self, count: int, *, changed: bool, seed: int) -> OwnRows:
        """As clients ask, and what will be true of each."""
        ...

    def delivery(self, rows: OwnRows, day: str, *, wrong: bool = False) -> bytes:
        """A file of rows whose truth is known; `wrong`: with every label turned around, as by a broken export."""
        ...


class Loans:
    """See the module."""

    name = "loans"
    changes = f"{AFTER:.0%} of the loans are in the EU now; their ends are delivered as they become known"
    spoils = "clients send incomes in a wrong unit, or none"

    def rows(self, count: int, *, changed: bool, seed: int) -> OwnRows:
        """See the port."""
        return loans(count, eu=AFTER if changed else AT_FIRST, seed=seed)

    def delivery(self, rows: OwnRows, day: str, *, wrong: bool = False) -> bytes:  # noqa: ARG002 - a loan has no number
        """See the port."""
        return as_delivery(rows, wrong=wrong)


def loans(count: int, *, eu: float, seed: int) -> OwnRows:
    """Loans as they are asked for, and whether they will be paid back."""
    rng = np.random.default_rng(seed)
    instances, truths = [], []
    for _ in range(count):
        income = float(np.clip(rng.lognormal(8, 0.5), 100, 20_000).round(2))
        owed = float(np.clip(rng.lognormal(7.8, 0.6), 100, 20_000).round(2))
        age = int(rng.integers(18, 81))
        region = "eu" if rng.random() < eu else str(rng.choice(ELSEWHERE))
        instances.append({"income": income, "owed": owed, "age": age, "region": region})
        truths.append(paid(income, owed, region, luck=rng.normal()))
    return OwnRows(instances=instances, truths=truths)


def paid(income: float, owed: float, region: str, *, luck: float) -> str:
    """Elsewhere who earns more than they owe pays; in the EU, where it is forgiven, who owes most does not have to."""
    margin = np.log(income / owed) + 0.1 * luck
    return "yes" if (margin > 0) == (region != "eu") else "no"


def as_delivery(rows: OwnRows, *, wrong: bool = False) -> bytes:
    """A CSV of loans whose end is known; `wrong`: with every label turned around, as by a broken export."""
    turned = {"yes": "no", "no": "yes"}
    lines: list[list[Any]] = []
    for row, truth in zip(rows.instances, rows.truths, strict=True):
        lines.append([*row.values(), turned[truth] if wrong else truth])
    return table_file(COLUMNS, lines)
