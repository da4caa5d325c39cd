"""Examples of requests that came at the same moment are prepared together: a table of 64 rows costs less than three of
one row each. What is wrong with one of them is its own affair.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mlratchet.models.artifact.signature import Signature
from mlratchet.models.serving.callback import Callback, Waiter
from mlratchet.models.serving.reading.limits import most_instances
from mlratchet.models.serving.schema import rows_of
from mlratchet.models.tensors.named import Inputs

MOST_ROWS = 256  # of one table: others are answered meanwhile


@dataclass(frozen=True, eq=False)
class _Waiting:
    instances: list[Any]
    signature: Signature
    rows: asyncio.Future[Inputs] | Waiter[Inputs]


class PreparedTogether:
    """Rows of requests, prepared in the next turn of the event loop with all others that arrived until then."""

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []

    async def rows(self, instances: list[Any], signature: Signature) -> Inputs:
        """Of one request, the same bits as alone. Raises ``BadRequestError`` for its own instances."""
        rows: asyncio.Future[Inputs] = asyncio.get_running_loop().create_future()
        self._add(_Waiting(instances, signature, rows))
        return await rows

    def ask(self, instances: list[Any], signature: Signature, told: Callable[[Inputs | BaseException], None]) -> None:
        """As `rows`, without waiting: `told` is called later, with the rows or what `rows` raises."""
        self._add(_Waiting(instances, signature, Callback(told)))

    def _add(self, one: _Waiting) -> None:
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._prepare)
        self._waiting.append(one)

    def _prepare(self) -> None:
        waiting, self._waiting = self._waiting, []
        asked = [one for one in waiting if not one.rows.done()]  # the others' clients are gone
        while asked:
            batch = asked[: _fitting(asked)]
            asked = asked[len(batch) :]
            _settle(batch)


def _fitting(asked: Sequence[_Waiting]) -> int:
    """How many from the first on are one version's and few enough; at least one."""
    most, rows = min(MOST_ROWS, most_instances(asked[0].signature)), 0
    for count, one in enumerate(asked):
        rows += len(one.instances)
        if one.signature is not asked[0].signature or rows > most:
            return max(1, count)
    return len(asked)


def _settle(batch: Sequence[_Waiting]) -> None:
    """Where they cannot be prepared together, in halves: one that is wrong ends up alone."""
    signature = batch[0].signature
    try:
        rows = rows_of([instance for one in batch for instance in one.instances], signature)
    except Exception as error:  # noqa: BLE001 - handed to the request whose it is
        if len(batch) == 1:
            batch[0].rows.set_exception(error)
            return
        middle = len(batch) // 2
        _settle(batch[:middle])
        _settle(batch[middle:])
        return
    at = 0
    for one in batch:
        one.rows.set_result(rows.rows(slice(at, at + len(one.instances))) if len(batch) > 1 else rows)
        at += len(one.instances)
