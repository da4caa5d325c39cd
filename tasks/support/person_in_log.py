"""A person in the inference log: rows that came with their key, or whose fields name them, and the labels of those."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from mlratchet.models.errors import SecurityError
from mlratchet.models.fault_points import fault_point
from mlratchet.models.identity.keys import Keys
from mlratchet.models.identity.signed_records import bare
from mlratchet.models.inference_log.client_keys import forms_of
from mlratchet.models.inference_log.columns import FIELD
from mlratchet.models.inference_log.file import Holds, folder_of
from mlratchet.models.inference_log.rewriting import Rewriter
from mlratchet.models.ports.storage import ObjectExists, ObjectStore

BOTH: tuple[Holds, Holds] = ("answers", "feedback")
T = TypeVar("T")
TRIES = 5  # while another process rewrites the same log


class PersonInLog:
    """What the inference log of a pipeline holds of a person."""

    def __init__(
        self, store: ObjectStore, keys: Keys, pipeline: str, key: str, fields: Iterable[str], *, now_s: float
    ) -> None:
        """Looks for them, and changes nothing."""
        self._store, self._keys, self._pipeline, self._now_s = bare(store), keys, pipeline, now_s
        self._named = {"client_key": forms_of(key), **{f"{FIELD}{name}": (key,) for name in fields}}
        self.rows = self.labels = self.media = 0
        self.request_ids: tuple[str, ...] = ()
        self.problems: list[str] = []
        if next(iter(self._store.list(folder_of(pipeline, "answers"))), None) is not None:
            found = [beside_others(partial(self._rewriter("answers").find, *one)) for one in self._named.items()]
            self.rows = sum(one.rows for one in found)
            self.request_ids = tuple(sorted({name for one in found for name in one.request_ids}))
            labels = beside_others(lambda: self._rewriter("feedback").find("request_id", self.request_ids))
            self.labels = labels.rows
            self.problems = list(dict.fromkeys(line for one in (*found, labels) for line in one.problems))

    def _rewriter(self, holds: Holds) -> Rewriter:
        return Rewriter(self._store, self._keys, self._pipeline, holds, now_s=self._now_s)

    def erase(self) -> None:
        """Labels first: by the rows they are found again. And what an erasure that was killed left to be swept."""
        if self.request_ids:
            self._erase("feedback", "request_id", self.request_ids)
            fault_point("forget.after_feedback")
            for column, names in self._named.items():
                self.media += self._erase("answers", column, names)
        for holds in BOTH:
            self._sweep(holds)

    def _sweep(self, holds: Holds) -> None:
        try:
            self._rewriter(holds).sweep()
        except SecurityError as error:
            self.problems.append(str(error))

    def _erase(self, holds: Holds, column: str, values: Sequence[str]) -> int:
        """What is wrong with the log was told when it was searched, and keeps nothing from being erased."""
        try:
            return beside_others(lambda: self._rewriter(holds).erase(column, values)).media
        except SecurityError:
            if not self.problems:
                raise
            return 0


def beside_others(rewrite: Callable[[], T]) -> T:
    """Where another process rewrote the same log meanwhile, as a compaction does, what it left is looked at anew."""
    for _ in range(TRIES - 1):
        try:
            return rewrite()
        except ObjectExists:
            continue
    return rewrite()
