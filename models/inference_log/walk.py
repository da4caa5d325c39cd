"""Walk the chains of a pipeline's log: which records there are of a stretch of time, and where one is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlratchet.models.identity.signing import TrustedKeys
from mlratchet.models.inference_log.chain import VerifiedLogFile, read_record
from mlratchet.models.inference_log.file import Holds, chain_folder, record_key
from mlratchet.models.inference_log.rewrites import Kept, read_rewrites
from mlratchet.models.ports.reading import side_by_side
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore


@dataclass(frozen=True, kw_only=True)
class Walk:
    """What the chains hold of a stretch."""

    records: tuple[VerifiedLogFile, ...]
    problems: tuple[str, ...]
    erased: int  # rows
    settled_s: float | None  # the earliest over the writers; None: there is no record


def numbers_of(store: ObjectStore, pipeline: str, holds: Holds) -> dict[str, list[int]]:
    """Writer -> numbers of the objects that have a name of its chain, whoever wrote them."""
    folder = chain_folder(pipeline, holds)
    found: dict[str, list[int]] = {}
    for info in store.list(folder):
        writer, _, name = info.key.removeprefix(folder).partition("/")
        number = name.removesuffix(".json")
        if name == f"{number}.json" and number.isascii() and number.isdigit() and len(number) == 8:
            found.setdefault(writer, []).append(int(number))
    return found


def walk_chains(
    store: ObjectStore, trusted: TrustedKeys, pipeline: str, *, holds: Holds, since_s: float, until_s: float
) -> Walk:
    """The records of every writer that may hold rows of [since_s, until_s), each chain verified from the record before
    the first of them to the one after the last."""
    rewrites = read_rewrites(store, trusted, pipeline, holds)
    numbers = numbers_of(store, pipeline, holds)
    records: list[VerifiedLogFile] = []
    problems = list(rewrites.problems)
    settled: list[float] = []
    for writer in sorted({*numbers, *rewrites.kept}):
        chain = _Chain(store, trusted, pipeline, holds, writer, numbers.get(writer, []), rewrites.kept.get(writer, {}))
        found, wrong = chain.between(since_s, until_s)
        records += found
        problems += wrong
        settled += [found[-1].said.settled_s] if found else []
    return Walk(
        records=tuple(records), problems=tuple(problems), erased=rewrites.erased_between(since_s, until_s),
        settled_s=min(settled, default=None),
    )  # fmt: skip


class _Chain:
    """One writer's, of objects in the bucket and of what rewriting kept of records."""

    def __init__(
        self,
        store: ObjectStore,
        trusted: TrustedKeys,
        pipeline: str,
        holds: Holds,
        writer: str,
        numbers: Sequence[int],
        kept: Mapping[int, Kept],
    ) -> None:
        self._store, self._trusted = store, trusted
        self._place = (pipeline, holds, writer)
        self._kept = kept
        self._behind_the_end: list[str] = []
        self._newest = self._end([*numbers, *kept])

    def _end(self, numbers: Sequence[int]) -> int:
        """The largest number whose record verifies. An object of somebody else's may have any number; where the next
        one of the chain should be, it may also stand in the place of a record."""
        above: dict[int, str] = {}
        for number in sorted(numbers, reverse=True):
            record = self._record(number)
            if not isinstance(record, str):
                self._behind_the_end = [above[number + 1]] if number + 1 in above else []
                return number
            above[number] = record
        self._behind_the_end = [above[1]] if 1 in above else []
        return 0

    def _name(self, number: int) -> str:
        return record_key(*self._place, number)

    def _record(self, number: int) -> VerifiedLogFile | str:
        """The record, or what is wrong with it."""
        if number in self._kept:
            return self._kept[number].record
        key = self._name(number)
        try:
            return read_record(self._store, self._trusted, key)
        except ObjectNotFound as error:  # gone, or nobody's
            return str(error) if "no such object" not in str(error) else f"{self._store.bucket}/{key}: is missing"

    def between(self, since_s: float, until_s: float) -> tuple[list[VerifiedLogFile], list[str]]:
        """Records from the first that can hold what came at `since_s`, up to the one by which all of before `until_s`
        is settled; and what is wrong."""
        first = self._first_after(since_s)
        found: list[VerifiedLogFile] = []
        problems: list[str] = []
        before = self._record(first - 1) if first > 1 else ""
        numbers = range(first, self._newest + 1)
        for number, record in zip(numbers, side_by_side(self._record, numbers), strict=False):
            if isinstance(record, str):
                problems.append(record)
            else:
                if isinstance(before, VerifiedLogFile) and record.said.previous != before.digest:
                    problems.append(f"{self._store.bucket}/{self._name(number)}: does not follow the record before it")
                elif number == 1 and record.said.previous:
                    problems.append(f"{self._store.bucket}/{self._name(1)}: names a record before the first")
                found.append(record)
                if record.said.settled_s >= until_s:
                    return found, problems
            before = record
        return found, [*problems, *self._behind_the_end]

    def _first_after(self, since_s: float) -> int:
        """Number of the first record that can hold what came at `since_s` or later: halving, as moments only
        grow. A record that is missing is looked past."""
        low, high = 1, self._newest + 1
        while low < high:
            middle = (low + high) // 2
            at = middle
            record = self._record(at)
            while isinstance(record, str) and at + 1 < high:
                at += 1
                record = self._record(at)
            if isinstance(record, str) or record.said.written_s >= since_s:
                high = middle
            else:
                low = at + 1
        return low
