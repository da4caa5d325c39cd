"""The inference log in an audit: chains without a gap, files that are the recorded ones, and what no record names."""

from __future__ import annotations

import re

from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.identity.signing import TrustedKeys
from mlratchet.models.inference_log.file import Holds, LogFile, folder_of
from mlratchet.models.inference_log.rewrites import read_rewrites
from mlratchet.models.inference_log.walk import walk_chains
from mlratchet.models.ports.reading import side_by_side
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore

EVER_S = 9e15
RECORD = re.compile(r"(chain/[^/]+|rewrites)/\d{8}\.json$")
MEDIA = re.compile(r"media/[0-9a-f]{64}$")


def log_findings(
    store: ObjectStore, trusted: TrustedKeys, pipeline: str, *, files: bool
) -> tuple[list[str], list[str]]:
    """Problems and notes about the log of a pipeline and its feedback. `files`: every file is hashed, too."""
    problems: list[str] = []
    notes: list[str] = []
    named: set[str] = set()
    for holds in ("answers", "feedback"):
        walk = walk_chains(store, trusted, pipeline, holds=holds, since_s=-EVER_S, until_s=EVER_S)
        problems += walk.problems
        said = [record.said for record in walk.records if record.said.object]
        named |= {one.object for one in said}
        wrong = side_by_side(lambda one: file_problem(store, one), said) if files else ()
        problems += [words for words in wrong if words]
        notes += told(store, trusted, pipeline, holds)
        lost = sum(record.said.dropped for record in walk.records)
        if lost:
            notes.append(f"{folder_of(pipeline, holds)}: {lost} answers were dropped and are counted as such")
    for info in store.list(folder_of(pipeline, "answers")):
        if info.key not in named and not RECORD.search(info.key) and not MEDIA.search(info.key):
            notes.append(f"{store.bucket}/{info.key}: is named by no record: it is being written, or nobody's")
    return problems, notes


def file_problem(store: ObjectStore, said: LogFile) -> str:
    """What is wrong with a file; empty where it is the recorded one."""
    try:
        if digest_bytes(store.get(said.object)) == said.sha256:
            return ""
    except ObjectNotFound:
        return f"{store.bucket}/{said.object}: is gone"
    return f"{store.bucket}/{said.object}: is not the file that its record names; it was changed"


def told(store: ObjectStore, trusted: TrustedKeys, pipeline: str, holds: Holds) -> list[str]:
    """What rewrites took out, so that nobody takes it for changed."""
    rows = {"erased": 0, "expired": 0}
    for one in read_rewrites(store, trusted, pipeline, holds).done:
        if one.why in rows:
            rows[one.why] += one.rows
    return [f"{folder_of(pipeline, holds)}: {count} rows were {why}" for why, count in rows.items() if count]
