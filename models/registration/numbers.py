"""Numbers of versions: ours, taken by conditional create, so that no registry and no repair of one can give one twice.

`versions/<name>/<number>.json` is signed and says whose work it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.signed_records import ForeignRecord, bare
from mlratchet.models.identity.stored import stored_document
from mlratchet.models.ports.storage import ObjectExists, ObjectNotFound, ObjectStore
from mlratchet.models.registration.record import readable_registrations


def number_key(name: str, number: int) -> str:
    """Where a number is taken."""
    return f"versions/{name}/{number:08d}.json"


def work_of(store: ObjectStore, name: str, number: int) -> str | None:
    """The work key that has the number; None for one that was given before numbers were written down, or not at all."""
    try:
        return str(stored_document(store, number_key(name, number), "work_key")["work_key"])
    except ObjectNotFound:
        return None


def take_number(store: ObjectStore, name: str, work_key: str, *, taken: Iterable[int]) -> int:
    """The number of this work's version, the same whenever it is asked.

    Args:
        store: The store bucket.
        name: Of the pipeline.
        work_key: Of the training.
        taken: Numbers that somebody else remembers, as the ledger does.
    """
    newest = 0
    for info in sorted(store.list(f"versions/{name}/"), key=lambda info: info.key, reverse=True):
        with suppress(ForeignRecord):  # what somebody planted moves no number
            if stored_document(store, info.key, "work_key")["work_key"] == work_key:
                return int(info.key.rpartition("/")[2].removesuffix(".json"))
            newest = newest or int(info.key.rpartition("/")[2].removesuffix(".json"))
    if not newest:  # of before numbers were written down: every record that there is, whoever signed it
        newest = max((one.version for one in readable_registrations(bare(store))[0].get(name, [])), default=0)
    number = max([newest, *taken]) + 1
    while True:
        with suppress(ObjectExists):
            store.create(number_key(name, number), canonical_json({"name": name, "work_key": work_key}))
            return number
        number += 1
