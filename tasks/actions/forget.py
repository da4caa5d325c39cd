"""Forget: what a client sent is erased from the inference log; and its files are put together and let go in time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.identity.keys import Keys
from mlratchet.models.identity.signed_records import bare
from mlratchet.models.inference_log.file import Holds, folder_of
from mlratchet.models.inference_log.rewriting import DAY_S, Erased, Rewriter
from mlratchet.models.pipeline.store import deployed_revisions, load_pipeline
from mlratchet.models.ports.storage import ObjectStore

BOTH: tuple[Holds, Holds] = ("answers", "feedback")
MAY_NAME = (
    "findings/",
    "windows/",
    "label-requests/",
    "labels-wanted/",
    "retrains/",
    "live/",
)  # of a pipeline: may hold request ids
IN_ONE_LOOK = 2_000_000  # bytes of a document that is searched; a larger one is told unread


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """What was erased, and where something is left for a person."""

    answers: Erased
    feedback: Erased
    named_in: tuple[str, ...]  # documents that name an erased request by its id; they hold nothing that it sent


def forget(store: ObjectStore, keys: Keys, pipeline: str, client_key: str, *, now_s: float | None = None) -> Forgotten:
    """Erase every row that came with this client's key, the labels of those requests, and their pictures and sounds.

    Raises ``ConfigurationError`` where there is no log, ``SecurityError`` where it is not whole; what was found is
    erased then, too.
    """
    store, now = bare(store), now_s if now_s is not None else time.time()
    if next(iter(store.list(folder_of(pipeline, "answers"))), None) is None:
        raise ConfigurationError(f"{pipeline}: there is no inference log of it in {store.bucket}; `ratchet ls` lists")
    answers = Rewriter(store, keys, pipeline, "answers", now_s=now).erase("client_key", [client_key])
    feedback = Rewriter(store, keys, pipeline, "feedback", now_s=now).erase("request_id", answers.request_ids)
    named = tuple(_naming(store, pipeline, answers.request_ids)) if answers.request_ids else ()
    return Forgotten(answers=answers, feedback=feedback, named_in=named)


def _naming(store: ObjectStore, pipeline: str, request_ids: tuple[str, ...]) -> list[str]:
    wanted = [one.encode() for one in request_ids]
    found: list[str] = []
    for folder in MAY_NAME:
        for info in store.list(f"{folder}{pipeline}/"):
            data = store.get(info.key) if info.size_bytes <= IN_ONE_LOOK else b""
            found += [info.key] if not data or any(one in data for one in wanted) else []
    return found


def tidy_logs(store: ObjectStore, keys: Keys, *, now_s: float | None = None) -> Mapping[str, tuple[int, int]]:
    """Let go what is older than each pipeline keeps it, and put the files of days that are over together: pipeline ->
    rows that went, files less."""
    now = now_s if now_s is not None else time.time()
    found: dict[str, tuple[int, int]] = {}
    for pipeline, revision in sorted(deployed_revisions(store).items()):
        before_s = now - load_pipeline(store, revision).serving.log.retention_days * DAY_S
        rewriters = [Rewriter(store, keys, pipeline, holds, now_s=now) for holds in BOTH]
        rows = sum(one.expire(before_s) for one in rewriters)
        found[pipeline] = rows, sum(one.compact() for one in rewriters)
    return found
