"""The record of a window: what was measured in one stretch of the log, and the state that the next window goes on with.

`windows/<pipeline>/<number>.json`, a chain of signed records, each with the digest of the one before. What is measured
in a window follows from the log, the reference and the record before it. So it does not matter who looks, how often, or
after which restart: the record of a number is the same. What was deleted or forged at the end of the chain is made
again; one that is missing before it shows as a gap, unless it was erased with a person, as a signed record says: what
follows it is gone on with.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from typing import Any

from mlratchet.models.config import StrictModel
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.identity.erasures import erased_records
from mlratchet.models.identity.stored import stored_document
from mlratchet.models.monitoring.config import AGAINST
from mlratchet.models.monitoring.finding import WindowSpan
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore
from pydantic import Field, ValidationError

logger = logging.getLogger(__name__)

WINDOWS = "windows/"
NUMBERED = re.compile(r"/(\d{8})\.json$")


class Figure(StrictModel):
    """One number that was measured."""

    value: float
    low: float | None = None
    """Of its interval; None where there is none."""
    high: float | None = None
    n: int = Field(ge=0)
    """Rows that it rests on."""
    method: str = ""
    """How the interval was made, and what it does not hold for."""


class WindowRecord(StrictModel):
    """What was measured in one window."""

    pipeline: str
    number: int = Field(ge=1)
    before: str = ""
    """Digest of the record before; empty for the first."""
    version: int
    """That served most of the rows; what is measured is of it alone."""
    generation: int
    window: WindowSpan
    labels_to_s: float
    """Requests before this moment had the time to get their label, and were judged."""
    problems: tuple[str, ...] = Field(default=(), strict=False)
    """Why nothing rests on it; empty where it is whole."""
    counts: dict[str, int] = Field(default_factory=dict)
    """Rows by what became of them: `rows`, `errors`, `refused`, `dropped`, `labelled`, `other_versions`."""
    figures: dict[str, Figure] = Field(default_factory=dict)
    sketches: dict[str, Any] = Field(default_factory=dict)
    """Of each column, in constant size: windows are merged, the log is not read again."""
    state: dict[str, Any] = Field(default_factory=dict)
    """Of the bounds and of the alarm, after this window."""
    open: dict[str, Any] = Field(default_factory=dict)
    """`kind:subject` of what is not as it should be -> since when, how severe, in which words. It is told when it
    begins and when it becomes worse."""
    findings: tuple[str, ...] = Field(default=(), strict=False)
    """Their ids."""
    reference: str = ""
    """Digest of what it was compared with."""
    compared_with: tuple[str, ...] = Field(default=(), strict=False, exclude_if=lambda value: not value)
    """And with which windows before it, or why with none, a line for each reference that the policy names."""
    policy: str
    """Digest of the `monitoring` section."""

    def canonical(self) -> bytes:
        """The bytes whose SHA-256 is its digest."""
        return canonical_json(self.model_dump(mode="json"))

    def digest(self) -> str:
        """SHA-256 hex."""
        return digest_bytes(self.canonical())

    @property
    def key(self) -> str:
        """Of its object."""
        return window_key(self.pipeline, self.number)

    @property
    def is_good(self) -> bool:
        """Whether it is whole, has rows and nothing is found in it: what a later window may be compared with. That it
        differs from another window alone is no fault of it: else no window after a step were good."""
        if self.findings and not self.open:
            return False
        return self.window.whole and self.window.rows > 0 and all(AGAINST in key for key in self.open)


def window_key(pipeline: str, number: int) -> str:
    """Where a record is published."""
    return f"{WINDOWS}{pipeline}/{number:08d}.json"


def publish_window(store: ObjectStore, record: WindowRecord) -> None:
    """Store it, signed; idempotent. Raises ``ObjectExists`` where another record of ours has the number."""
    store.create(record.key, record.canonical())


def load_window(store: ObjectStore, pipeline: str, number: int) -> WindowRecord:
    """A record of ours. Raises ``ObjectNotFound`` where there is none that verifies, ``SecurityError`` for a record of
    ours that is another than its name says."""
    key = window_key(pipeline, number)
    try:
        found = WindowRecord(**stored_document(store, key, "pipeline", "policy"))
    except ValidationError as error:
        raise SecurityError(f"{store.bucket}/{key}: is not the record of a window; it was changed") from error
    if (found.pipeline, found.number) != (pipeline, number):
        raise SecurityError(f"{store.bucket}/{key}: is window {found.number} of {found.pipeline}; it was copied")
    return found


def newest_window(store: ObjectStore, pipeline: str) -> WindowRecord | None:
    """The last record that verifies and follows one that does: there the monitor goes on."""
    numbers = window_numbers(store, pipeline)
    found: WindowRecord | None = None
    for number in reversed(numbers):
        try:
            found = load_window(store, pipeline, number)
        except (ObjectNotFound, SecurityError) as error:
            logger.warning("%s", error)
            continue
        if number == 1 or _follows(store, found):
            return found
    return None


def _follows(store: ObjectStore, record: WindowRecord) -> bool:
    """Whether the record before it is the one that it names, or that one was erased on demand."""
    try:
        if load_window(store, record.pipeline, record.number - 1).digest() == record.before:
            return True
    except (ObjectNotFound, SecurityError) as error:
        logger.warning("%s", error)
    return record.before in erased_windows(store, record.pipeline)


def erased_windows(store: ObjectStore, pipeline: str) -> frozenset[str]:
    """Digests of the records that were erased because they told of a person. Of those whose digest an older record of
    the erasure does not tell, the window after it does."""
    folder = f"{WINDOWS}{pipeline}/"
    found = {(key, said) for key, said in erased_records(store) if key.startswith(folder)}
    untold = numbers_in((key for key, said in found if not said), pipeline)
    return frozenset({said for _, said in found if said} | {_named_after(store, pipeline, one) for one in untold}) - {
        ""
    }


def _named_after(store: ObjectStore, pipeline: str, number: int) -> str:
    """Digest of a window as the one after it names it; empty where that is gone, too."""
    try:
        return load_window(store, pipeline, number + 1).before
    except (ObjectNotFound, SecurityError):
        return ""


def window_numbers(store: ObjectStore, pipeline: str) -> list[int]:
    """Numbers under which something lies, ascending, whoever wrote it."""
    return numbers_in((info.key for info in store.list(f"{WINDOWS}{pipeline}/")), pipeline)


def numbers_in(keys: Iterable[str], pipeline: str) -> list[int]:
    """Numbers of the windows of a pipeline among names of objects, ascending."""
    folder = f"{WINDOWS}{pipeline}/"
    return sorted({int(found[1]) for key in keys if key.startswith(folder) and (found := NUMBERED.search(key))} - {0})


def missing_windows(store: ObjectStore, pipeline: str, numbers: Sequence[int]) -> list[str]:
    """Where records are missing between those of ours, or before the first, and none says that they were erased: a line
    each. `numbers`: of those that are there, ascending."""
    words = []
    for earlier, later in pairwise([0, *numbers]):
        if later > earlier + 1 and not _were_erased(store, pipeline, range(earlier + 1, later)):
            which = f"window {later - 1} is" if later == earlier + 2 else f"windows {earlier + 1} to {later - 1} are"
            words.append(
                f"{store.bucket}: {which} missing in the record of {pipeline}'s monitoring; removed, not erased"
            )
    return words


def _were_erased(store: ObjectStore, pipeline: str, numbers: range) -> bool:
    """Whether each of the records was erased on demand, and the one after them goes on from the last of them."""
    erased = erased_records(store)
    names = {key for key, _ in erased}
    if not {window_key(pipeline, number) for number in numbers} <= names:
        return False
    try:
        after = load_window(store, pipeline, numbers.stop)
    except (ObjectNotFound, SecurityError):
        return False
    last = window_key(pipeline, numbers.stop - 1)
    return not erased.isdisjoint({(last, after.before), (last, "")})


def windows_of(
    store: ObjectStore, pipeline: str, *, since_s: float = 0.0, most: int | None = None
) -> tuple[WindowRecord, ...]:
    """Records that verify and end after a moment, oldest first; at most the `most` newest.

    They are read from the newest backwards, so that a long history costs nothing.
    """
    found: list[WindowRecord] = []
    for number in reversed(window_numbers(store, pipeline)):
        if most is not None and len(found) >= most:
            break
        try:
            record = load_window(store, pipeline, number)
        except (ObjectNotFound, SecurityError) as error:
            logger.warning("%s", error)
            continue
        if record.window.to_s <= since_s:
            break
        found.append(record)
    return tuple(reversed(found))


def gaps_in(records: Sequence[WindowRecord], erased: Collection[str] = ()) -> tuple[str, ...]:
    """Where a chain that was read is broken, in words. `erased`: digests of records that were erased on demand."""
    words = []
    for earlier, later in pairwise(records):
        if later.before in erased:
            continue
        if later.number != earlier.number + 1:
            words.append(f"windows {earlier.number + 1} to {later.number - 1} are missing")
        elif later.before != earlier.digest():
            words.append(f"window {later.number} does not follow window {earlier.number}")
    return tuple(words)
