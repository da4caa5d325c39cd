"""The canary chain as it is read and written: the newest entry is followed, or nothing is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.signed_chain import Seen, SignedChain
from mlratchet.models.identity.signed_records import ForeignRecord, bare, keep_aside
from mlratchet.models.ledger.notice import give_notice
from mlratchet.models.ports.storage import ObjectExists, ObjectNotFound, ObjectStore
from mlratchet.models.promotion.canary.entry import CANARIES, CanaryEntry, canary_key


def canary_names(store: ObjectStore) -> set[str]:
    """Pipelines that ever had a canary."""
    return {info.key.split("/")[1] for info in store.list(CANARIES)}


def canary_chain(store: ObjectStore, name: str) -> SignedChain[CanaryEntry]:
    """Of a pipeline, by a `RecordStore`."""
    return SignedChain(store, CANARIES, name, CanaryEntry, what="a canary record")


def read_entry(store: ObjectStore, name: str, key: str) -> CanaryEntry:
    """One entry. Raises ``ForeignRecord`` for what nobody of ours signed, ``SecurityError`` for a record of ours that
    is none."""
    return canary_chain(store, name).read(key)


def newest_canary(store: ObjectStore, name: str, *, seen: Seen = (0, "")) -> CanaryEntry | None:
    """The last entry of the chain; None before the first.

    It is the last by its name, whatever lies there: who removes or covers a pull-back must not bring the entry before
    it back. `seen`: of the newest entry that this installation has seen, outside the bucket.

    Raises ``SecurityError`` where the last one is not ours, does not follow the one before, or is not what was seen.
    """
    keys = canary_chain(store, name).keys()
    if not keys:
        if seen[0]:
            raise _cut(store, name, seen)
        return None
    try:
        newest = read_entry(store, name, keys[-1])
        before = read_entry(store, name, keys[-2]) if len(keys) > 1 else None
    except ObjectNotFound as error:  # a foreign record is one
        raise SecurityError(f"{error}; the canary of {name} is not followed: `ratchet audit {name}`") from error
    if newest.previous != (before.digest() if before is not None else ""):
        raise SecurityError(f"{store.bucket}/{keys[-1]}: does not follow the entry before it; it was changed")
    if newest.number < seen[0] or (newest.number == seen[0] and newest.digest() != seen[1]):
        raise _cut(store, name, seen)
    return newest


def _cut(store: ObjectStore, name: str, seen: Seen) -> SecurityError:
    return SecurityError(
        f"{store.bucket}/{CANARIES}{name}/: entry {seen[0]} was the newest here and is gone or another; "
        f"no canary of {name} is followed until `ratchet canary {name} --stop` adds one"
    )


def last_of_ours(store: ObjectStore, name: str) -> CanaryEntry | None:
    """The newest entry that is ours, whatever was planted after it: where the chain goes on."""
    return canary_chain(store, name).last_of_ours()


def publish_canary(
    store: ObjectStore, name: str, make: Callable[[int, str], CanaryEntry], *, at: int = 0, seen: Seen = (0, "")
) -> CanaryEntry:
    """Add `make(number, digest of the entry before)` to the chain. What somebody planted at its name, or after it, is
    kept aside.

    Args:
        store: A `RecordStore` that signs.
        name: Of the pipeline.
        make: The entry for a place in the chain.
        at: Number of the entry that the caller has seen and decides on; 0 for the chain as it is. Raises
            ``ObjectExists`` when another entry of ours came after it.
        seen: The newest entry that this installation has seen. Where the chain was cut its numbers are not given again.
    """
    before = last_of_ours(store, name)
    if at and (before is None or before.number != at):
        found = f"entry {before.number}" if before is not None else "nothing"
        raise ObjectExists(f"{store.bucket}/{CANARIES}{name}/: ends with {found}, expected entry {at}; look again")
    number = max(before.number if before is not None else 0, seen[0]) + 1
    made = canary_chain(store, name).create(make(number, before.digest() if before is not None else ""))
    _clear_planted(store, name, number)
    give_notice(bare(store), name, "canary", made.digest())
    return made


def _clear_planted(store: ObjectStore, name: str, number: int) -> None:
    """Objects after the newest entry: none of ours, and in the way of the next."""
    beneath = bare(store)
    for info in list(beneath.list(f"{CANARIES}{name}/", after=canary_key(name, number))):
        with suppress(ObjectNotFound):
            held = beneath.get(info.key)
            if is_foreign(store, name, info.key):
                keep_aside(beneath, info.key, held)
                beneath.delete(info.key)


def is_foreign(store: ObjectStore, name: str, key: str) -> bool:
    """Whether an object is nobody's of ours; one that is signed by a key unknown here is for a person to look at."""
    try:
        read_entry(store, name, key)
    except ForeignRecord:
        return True
    except SecurityError:
        return False
    return False


def broken_canaries(store: ObjectStore, name: str) -> list[str]:
    """What is wrong with a pipeline's chain, one line each: entries that are gone, foreign, or do not follow."""
    return canary_chain(store, name).problems()
