"""Holds: what stops a pipeline's promotions until a person or a good delivery lifts it. A chain of signed records.

`holds/<pipeline>/<number>.json`: each entry places a hold because of a finding, or lifts one, and has the digest of the
entry before. A hold stops a run after its data gate, so that a good delivery can end it, and every promotion; a
rollback never asks. What a revoked key signed goes on holding and lifts nothing: that costs a person a word, never a
belief.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, Protocol

from mlratchet.models.errors import GateRefusedError, SecurityError
from mlratchet.models.identity.signed_chain import ChainedEntry, SignedChain
from mlratchet.models.identity.signed_records import ForeignRecord, RevokedRecord, bare, without_stamp
from mlratchet.models.identity.stored import stored_document
from mlratchet.models.moments import utc
from mlratchet.models.ports.storage import ObjectExists, ObjectNotFound, ObjectStore
from mlratchet.models.printable import one_line

HOLDS = "holds/"
ENDED_BY_A_DELIVERY = ("data", "inputs")  # kinds of findings about data; others need a person's word
SHOWN = 12  # digits of a digest, in words


class HoldEntry(ChainedEntry):
    """One entry of a pipeline's chain."""

    action: Literal["hold", "lift"]
    finding: str
    """Digest of the finding; of a lift empty for everything that was held."""
    kind: str = ""
    """Of the finding."""
    words: str
    """Of a hold what was found; of a lift why it may end."""
    actor: str
    at_s: float
    """Seconds since the epoch."""
    decision: str = ""
    """Of a lift by a delivery: digest of its data gate's decision."""
    snapshot: str = ""
    """Of a lift by a delivery: which."""

    def in_a_line(self) -> str:
        """As a history shows it, under the columns of the ledger."""
        what = self.finding[:SHOWN] or "all"
        return one_line(f"{'':4}  {utc(self.at_s)}  {self.action:8}  finding {what}  {self.actor}: {self.words}")


@dataclass(frozen=True, kw_only=True)
class Hold:
    """One that stands."""

    entry: HoldEntry
    written_s: float = field(compare=False)  # by the store's clock

    def in_words(self) -> str:
        """What was found, when, and how it ends."""
        entry = self.entry
        by_data = "a later delivery that passes the data gate ends it, or " if self.ends_with_a_delivery else ""
        return one_line(
            f"held since {utc(entry.at_s)} by finding {entry.finding[:SHOWN]} ({entry.words}); "
            f"{by_data}`ratchet resolve {entry.finding[:SHOWN]} --reason ...`"
        )

    @property
    def ends_with_a_delivery(self) -> bool:
        """Whether it is about data, so that better data answer it."""
        return self.entry.kind in ENDED_BY_A_DELIVERY

    def is_answered_by(self, delivered_s: float | None) -> bool:
        """Whether a delivery whose newest object came then, by the store's clock, came after the hold."""
        return self.ends_with_a_delivery and delivered_s is not None and delivered_s > self.written_s


class Marks(Protocol):
    """Where an installation remembers the newest entry it saw of a chain, out of reach of who writes to the bucket."""

    def mark(self, name: str, kept: Literal["hold"], /) -> tuple[int, str]:
        """Number and digest; (0, "") before the first."""
        ...

    def keep_mark(self, name: str, kept: Literal["hold"], number: int, digest: str, /) -> None:
        """See `mark`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Read:
    """An entry as it lies in the bucket."""

    entry: HoldEntry
    counts: bool  # False for what a revoked key signed
    written_s: float


def hold_key(name: str, number: int) -> str:
    """Where an entry is published."""
    return f"{HOLDS}{name}/{number:08d}.json"


class HoldBook:
    """The chains of one bucket. `marks`: None for who remembers nothing, as an auditor elsewhere."""

    def __init__(self, store: ObjectStore, marks: Marks | None = None) -> None:
        self._store, self._marks = store, marks

    def standing(self, name: str) -> list[Hold]:
        """What holds a pipeline now, oldest first. Raises ``SecurityError`` for a chain that is not whole."""
        return standing_of(self._whole(name))

    def refuse_held(self, name: str) -> None:
        """Raises ``GateRefusedError`` when anything holds the pipeline, ``SecurityError`` as `standing`."""
        held = self.standing(name)
        if held:
            raise GateRefusedError(f"{name} is {'; '.join(hold.in_words() for hold in held)}")

    def entries(self, name: str) -> list[HoldEntry]:
        """The whole chain, for reading. Raises ``SecurityError`` for one that is not whole."""
        return [one.entry for one in self._whole(name)]

    def place(self, name: str, *, finding: str, kind: str, words: str, actor: str, at_s: float) -> HoldEntry:
        """Hold a pipeline because of a finding; the entry there is when that finding held it before, lifted or not:
        a person who resolved it is not asked about the same again."""
        while True:
            found = self._whole(name)
            earlier = [one.entry for one in found if one.entry.action == "hold" and one.entry.finding == finding]
            if earlier:
                return earlier[0]
            made = HoldEntry(
                name=name, number=len(found) + 1, action="hold", finding=finding, kind=kind, words=words, actor=actor,
                at_s=at_s, previous=_head(found),
            )  # fmt: skip
            with suppress(ObjectExists):  # somebody else wrote meanwhile
                return self._publish(made)

    def lift(
        self, name: str, *, finding: str, reason: str, actor: str, at_s: float, decision: str = "", snapshot: str = ""
    ) -> HoldEntry | None:
        """End one hold; None when it does not stand any more."""
        while True:
            found = self._whole(name)
            if finding not in [hold.entry.finding for hold in standing_of(found)]:
                return None
            made = HoldEntry(
                name=name, number=len(found) + 1, action="lift", finding=finding, words=reason, actor=actor, at_s=at_s,
                decision=decision, snapshot=snapshot, previous=_head(found),
            )  # fmt: skip
            with suppress(ObjectExists):
                return self._publish(made)

    def lift_all(self, name: str, *, reason: str, actor: str, at_s: float) -> HoldEntry:
        """End whatever holds the pipeline, also what was cut off the chain: a person answers for it, and what is left
        is where it goes on."""
        while True:
            found = self._read(name)
            made = HoldEntry(
                name=name, number=len(found) + 1, action="lift", finding="", words=reason, actor=actor, at_s=at_s,
                previous=_head(found),
            )  # fmt: skip
            with suppress(ObjectExists):
                return self._publish(made)

    def _publish(self, entry: HoldEntry) -> HoldEntry:
        self._chain(entry.name).create(entry)
        self._remember(entry)
        return entry

    def _remember(self, entry: HoldEntry) -> None:
        if self._marks is not None:
            self._marks.keep_mark(entry.name, "hold", entry.number, entry.digest())

    def _whole(self, name: str) -> list[Read]:
        """The chain, held against what this installation has seen."""
        found = self._read(name)
        number, known = self._marks.mark(name, "hold") if self._marks is not None else (0, "")
        if number > len(found) or (number and found[number - 1].entry.digest() != known):
            raise SecurityError(
                f"{self._store.bucket}/{HOLDS}{name}/: entry {number} was the newest here and is gone or another; "
                f"restore it from a copy of the bucket, or `ratchet resolve {name} --reason ...` answers for whatever "
                "it held"
            )
        if len(found) > number:
            self._remember(found[-1].entry)
        return found

    def _read(self, name: str) -> list[Read]:
        """Entries of ours, in order; what somebody else left under such a name is none."""
        found: list[Read] = []
        for info in sorted(self._store.list(f"{HOLDS}{name}/"), key=lambda info: info.key):
            one = self._entry(name, info.key, info.modified_s)
            if one is None:
                continue
            if (one.entry.number, one.entry.previous) != (len(found) + 1, _head(found)):
                raise SecurityError(
                    f"{self._store.bucket}/{info.key}: does not follow entry {len(found)}; one was removed or changed: "
                    f"restore {HOLDS}{name}/ from a copy of the bucket"
                )
            found.append(one)
        return found

    def _chain(self, name: str) -> SignedChain[HoldEntry]:
        return SignedChain(self._store, HOLDS, name, HoldEntry, what="a hold")

    def _entry(self, name: str, key: str, written_s: float) -> Read | None:
        counts = True
        try:
            document = stored_document(self._store, key, "name", "finding")
        except RevokedRecord:  # its signature holds
            document, counts = without_stamp(json.loads(bare(self._store).get(key))), False
        except (ForeignRecord, ObjectNotFound):
            return None
        entry = self._chain(name).parse(key, document)
        return Read(entry=entry, counts=counts, written_s=written_s)


def _head(found: Sequence[Read]) -> str:
    return found[-1].entry.digest() if found else ""


def standing_of(found: Sequence[Read]) -> list[Hold]:
    """What is held after these entries."""
    held: dict[str, Hold] = {}
    for one in found:
        entry = one.entry
        if entry.action == "hold":
            held[entry.finding] = Hold(entry=entry, written_s=one.written_s)
        elif one.counts and not entry.finding:
            held.clear()
        elif one.counts:
            held.pop(entry.finding, None)
    return list(held.values())


def held_names(store: ObjectStore) -> set[str]:
    """Of every pipeline that was ever held."""
    return {info.key.split("/")[1] for info in store.list(HOLDS) if info.key.count("/") == 2}


def broken_holds(store: ObjectStore, name: str) -> list[str]:
    """What is wrong with a pipeline's chain, one line; empty for a whole one, and for none."""
    try:
        HoldBook(store).entries(name)
    except SecurityError as error:
        return [str(error)]
    return []
