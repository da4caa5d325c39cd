"""Claims: who may write for a work key now.

An attempt takes the next epoch by conditional create before its first write; the epoch is part of every
key it writes, and only the newest epoch's writes are read. The parent of a warm start, or why there is
none, is chosen by the first claim and repeated by every later one.
"""

from __future__ import annotations

import json
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass

from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.signed_records import ForeignRecord, without_stamp
from mlratchet.models.ports.storage import ObjectExists, ObjectStore


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One attempt's right to write."""

    work_key: str
    epoch: int  # fencing token, 1 for the first attempt
    parent_version: int | None  # the version a warm start begins from
    owner: str  # who: a flow run id or user@host
    token: str  # unique, so that a lost reply can be told from a lost race
    taken_s: float  # seconds since the epoch, for reading only
    run: str = ""  # the run whose lease says whether the attempt is alive
    began_fresh: str = ""  # why not from the champion, although the file asks for it
    refers: tuple[str, ...] = ()  # ids of the snapshot and the dataset: not garbage while the work is unfinished


def claim_key(work_key: str, epoch: int) -> str:
    """Where the claim of an epoch is published."""
    return f"work/{work_key}/claim-{epoch:06d}.json"


def read_claims(store: ObjectStore, work_key: str) -> list[Claim]:
    """All claims of a work key, oldest first; a foreign object is none. Raises ``SecurityError`` for one that is no
    claim although it is signed."""
    claims = []
    for info in store.list(f"work/{work_key}/claim-"):
        with suppress(ForeignRecord):
            claims.append(_parse(store.get(info.key), f"{store.bucket}/{info.key}"))
    return claims


def _parse(data: bytes, where: str) -> Claim:
    try:
        return Claim(**without_stamp(json.loads(data)))
    except (ValueError, TypeError, AttributeError, RecursionError) as exc:
        raise SecurityError(f"{where}: is not a claim; it was changed") from exc


def take_claim(
    store: ObjectStore,
    work_key: str,
    *,
    parent_version: int | None,
    owner: str,
    now_s: float,
    run: str = "",
    began_fresh: str = "",
    refers: tuple[str, ...] = (),
) -> Claim:
    """Take the next epoch. A lost race is tried again with the one after."""
    while True:
        claims = read_claims(store, work_key)
        claim = Claim(
            work_key=work_key,
            epoch=claims[-1].epoch + 1 if claims else 1,
            parent_version=claims[0].parent_version if claims else parent_version,
            began_fresh=claims[0].began_fresh if claims else began_fresh,
            owner=owner,
            token=uuid.uuid4().hex,
            taken_s=now_s,
            run=run,
            refers=refers,
        )
        try:
            store.create(claim_key(work_key, claim.epoch), canonical_json(asdict(claim)))
        except ObjectExists:
            continue
        return claim


def is_current(store: ObjectStore, claim: Claim) -> bool:
    """Whether no newer epoch has been taken. No clock is asked."""
    return not store.exists(claim_key(claim.work_key, claim.epoch + 1))
