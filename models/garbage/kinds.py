"""What the store bucket holds, and how one object refers to another.

References are found conservatively: any 64-digit hexadecimal word in a document refers to every object that has the
word in its key. An object of a kind that is not listed here is never garbage, and what it refers to is not either.
"""

from __future__ import annotations

import re

WORD = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
CHECKPOINT = re.compile(r"^work/[^/]+/e\d+/checkpoints/")
WEIGHTS = re.compile(r"^work/[^/]+/e\d+/weights-([0-9a-f]{64})\.")

# what a retrain needs: bytes that can be made again from the source, as long as somebody has it
DATA = ("raw/", "snapshots/", "listings/", "datasets/", "indexes/", "shards/", "weights/", "nodes/")
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
)
FOREVER = ("ledger/", "registrations/", "deployments/", "approvals/")
COUNTS = ("holdout/",)  # how often rows have gated: kept forever, and the works that they name are not
REPORTS = ("runs/", "gc/started/")  # for reading; they keep nothing alive
MACHINERY = ("leases/", "gc/running/", "hardware/", "health/", "doctor/")  # whoever writes them clears them
FIRST = ("listings/", "gates/", "datasets/", "snapshots/")  # deleted before what they refer to


def words_in_key(key: str) -> list[str]:
    """Identities that an object's key holds."""
    return [word.decode() for word in WORD.findall(key.encode())]


def words_in(data: bytes) -> set[str]:
    """Identities that a document holds."""
    return {word.decode() for word in WORD.findall(data)}


def is_document(key: str) -> bool:
    """Whether the object can refer to others."""
    return key.endswith((".json", ".yaml")) and not key.startswith((*REPORTS, *MACHINERY, *COUNTS))


def is_known(key: str) -> bool:
    """Whether the object is of a kind that can become garbage, or is handled apart."""
    return key.startswith((*DATA, *EVIDENCE, *REPORTS, *MACHINERY, *COUNTS, *FOREVER, "work/"))


def deletion_order(key: str) -> tuple[int, str]:
    """Markers first: what is half deleted does not exist."""
    marker = key.endswith(("marker.json", "result.json")) or key.startswith(FIRST)
    return (0 if marker else 1 if key.endswith(".json") else 2, key)
