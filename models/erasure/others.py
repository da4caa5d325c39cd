"""What other pipelines of a store need: their versions, what those were made of, and the copies of deliveries behind.

What two pipelines need goes with the demand of the last of them: a demand that finds something another one needs says
so in its record, and has let go of it then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cached_property

from mlratchet.models.data.dataset import load_dataset
from mlratchet.models.data.snapshot import load_snapshot
from mlratchet.models.erasure.places import keys_of
from mlratchet.models.erasure.rows_behind import RowsBehind
from mlratchet.models.errors import SecurityError
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore
from mlratchet.models.registration.record import Registration


class OthersNeeds:
    """Counted by digest: the names of what is shared hold it."""

    def __init__(
        self, store: ObjectStore, foreign: Iterable[Registration], behind: RowsBehind,
        released: Mapping[tuple[str, str], float],
    ) -> None:  # fmt: skip
        """`foreign`: versions of the other pipelines. `released`: pipeline and `bucket/key` -> when it let go of it."""
        self._store, self._foreign, self._behind, self._released = store, list(foreign), behind, released

    def need(self, place: str) -> str | None:
        """Another pipeline that needs `bucket/key`, or the folder of an artifact, and has not let go of it; None where
        there is none."""
        return self._needed.get(place)

    @cached_property
    def _needed(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for record in self._foreign:
            places = [f"{self._store.bucket}/{key}" for key in self._keys_of(record)]
            for place in (*places, record.source_uri.removeprefix("s3://").rstrip("/")):
                if self._released.get((record.name, place), float("-inf")) <= record.registered_s:
                    found[place] = record.name
        return found

    def _keys_of(self, record: Registration) -> set[str]:
        keys = {record.rows_key, f"datasets/{record.dataset_id}.json", record.weights_key, *self._behind.of(record)}
        with suppress(SecurityError, ObjectNotFound):
            keys |= set(keys_of(load_dataset(self._store, record.dataset_id)))
        with suppress(SecurityError, ObjectNotFound):
            keys |= {f"raw/{item.sha256}" for item in load_snapshot(self._store, record.snapshot_id).objects}
        return keys
