"""What the store bucket holds, and how one object refers to another.

References are found conservatively: any 64-digit hexadecimal word in a document refers to every object that has the
word in its key, and `by study` with twelve digits (who asked for a run, `models/tuning/study.py`) to that study. An
object of a kind that is not listed here is never garbage, and what it refers to is not either.
"""

from __future__ import annotations

import re

WORD = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
BY_STUDY = re.compile(rb"\bby study ([0-9a-f]{12})(?![0-9a-f])")
STUDY = re.compile(r"^studies/(?P<id>[^/]+)/")
JOURNAL = re.compile(r"^(?P<folder>studies/[^/]+/journal/)(?P<number>\d{9})\.json$")
FINISHED = re.compile(r"^studies/[^/]+/finished\.json$")
CHECKPOINT = re.compile(r"^work/[^/]+/e\d+/checkpoints/")
WEIGHTS = re.compile(r"^work/[^/]+/e\d+/weights-([0-9a-f]{64})\.")

# what a retrain needs: bytes that can be made again from the source, as long as somebody has it
DATA = (
    "raw/", "snapshots/", "listings/", "datasets/", "indexes/", "shards/", "preparations/", "weights/", "nodes/",
    "kept/", "pieces/",
)  # fmt: skip
# what an audit needs: kept for every version that ever was, however old
EVIDENCE = (
    "decisions/",
    "gates/",
    "rows/",
    "manifests/",
    "pipelines/",
    "tracking/",
    "evidence/",
    "signatures/",
    "requests/",
    "attributions/",
    "policies/",
    "quarantine/",
    "profiles/",
    "readings/",
    "orders/",
)
STUDIES = ("studies/",)  # of searches: they have their time, and what they name lives as long
FOREVER = (
    "ledger/", "registrations/", "deployments/", "approvals/", "columns/", "adoptions/", "versions/", "holds/",
    "retrains/", "canary/", "answers/", "erasures/",
)  # fmt: skip
# how often rows have gated, which quarantine is the newest: kept forever, and what they name is not
COUNTS = ("holdout/", "rejects/")
REPORTS = ("runs/", "gc/started/", "aside/", "scores/")  # for reading; they keep nothing alive
MACHINERY = (  # whoever writes them clears them
    "leases/", "waits/", "gc/running/", "hardware/", "health/", "doctor/", "log/", "label-requests/", "labels-wanted/",
    "notices/",
)  # fmt: skip
FIRST = ("listings/", "kept/", "gates/", "datasets/", "snapshots/")  # deleted before what they refer to


def words_in_key(key: str) -> list[str]:
    """Identities that an object's key holds."""
    study = STUDY.match(key)
    return [word.decode() for word in WORD.findall(key.encode())] + ([study["id"][:12]] if study else [])


def words_in(data: bytes) -> set[str]:
    """Identities that a document holds."""
    return {word.decode() for word in WORD.findall(data) + BY_STUDY.findall(data)}


def is_document(key: str) -> bool:
    """Whether the object can refer to others."""
    return key.endswith((".json", ".yaml")) and not key.startswith((*REPORTS, *MACHINERY, *COUNTS))


def is_known(key: str) -> bool:
    """Whether the object is of a kind that can become garbage, or is handled apart."""
    return key.startswith((*DATA, *EVIDENCE, *REPORTS, *MACHINERY, *COUNTS, *FOREVER, *STUDIES, "work/"))


def deletion_order(key: str) -> tuple[int, str]:
    """Markers first: what is half deleted does not exist. A journal goes from its end: its beginning is one, too."""
    journal = JOURNAL.match(key)
    if journal is not None:
        return (0, f"{journal['folder']}{10**9 - int(journal['number']):010d}")
    marker = key.endswith(("marker.json", "result.json")) or key.startswith(FIRST)
    return (0 if marker else 1 if key.endswith(".json") else 2, key)
