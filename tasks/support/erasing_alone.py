"""Who erases a person does it alone: runs that begin meanwhile wait, and nobody else erases or collects garbage."""

from __future__ import annotations

import getpass
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mlratchet.infra.machine.scratch import is_gone, lease_of
from mlratchet.models.garbage.lock import RUNNING, collecting
from mlratchet.models.identity.lease import HeldError, HeldLease, LeaseKeeper, live_leases
from mlratchet.models.identity.signed_records import bare
from mlratchet.models.ports.storage import ObjectStore


@dataclass(frozen=True)
class ErasesAlone:
    """As far as it can be known."""

    under_way: tuple[HeldLease, ...]  # runs that had begun before
    keeper: LeaseKeeper

    def problems(self) -> list[str]:
        """Why something may be left, a line each."""
        found = [
            f"run {one.lease.run} of {one.lease.pipeline} by {one.lease.owner} was under way: what it had read it may "
            "write yet: once more when it has ended"
            for one in self.under_way
        ]
        if self.keeper.lapsed:
            found.append("this erasure gave no sign of life for a minute, and runs may have begun: once more")
        return found


@contextmanager
def erasing_alone(store: ObjectStore, pipeline: str) -> Iterator[ErasesAlone]:
    """Hold back what begins now. Raises ``HeldError`` where somebody else erases or collects garbage."""
    beneath = bare(store)
    me = lease_of(uuid.uuid4().hex, pipeline, getpass.getuser())
    with collecting(beneath, me, is_gone=is_gone) as (_, keeper):
        others = [one for one in live_leases(beneath, is_gone=is_gone, prefix=RUNNING) if one.lease.run != me.run]
        if others:
            lease = others[0].lease
            raise HeldError(
                f"{lease.owner} (pid {lease.pid} on {lease.machine.split('/')[0]}) erases or collects garbage in "
                f"{store.bucket} at this moment; try again when that has ended"
            )
        yield ErasesAlone(tuple(live_leases(beneath, is_gone=is_gone)), keeper)
