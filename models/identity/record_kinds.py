"""The kinds of signed records: by its name an object is a record of a kind, for one purpose, by keys of one role."""

from __future__ import annotations

import re
from typing import NamedTuple

from mlratchet.models.identity.signing import Purpose, Role


class Kind(NamedTuple):
    """Of a record."""

    purpose: Purpose
    names: re.Pattern[str]  # of the objects that hold one
    role: Role = "pipeline"  # of a key that may make it


def _kind(purpose: Purpose, names: str, role: Role = "pipeline") -> Kind:
    return Kind(purpose, re.compile(f"^{names}$"), role)


KINDS = (
    _kind("claim", r"work/[^/]+/claim-\d{6}\.json"),
    _kind("result", r"work/[^/]+/e\d{6}/result\.json"),
    _kind("checkpoint", r"work/[^/]+/e\d{6}/checkpoints/\d{9}/marker\.json"),
    _kind("version", r"versions/[^/]+/\d{8}\.json"),
    _kind("upload", r"work/[^/]+/uploads/[^/]+\.json"),
    _kind("dataset", r"datasets/[^/]+\.json"),
    _kind("snapshot", r"snapshots/[^/]+\.json"),
    _kind("listing", r"listings/[^/]+/[^/]+\.json"),
    _kind("reading", r"(readings|rejects|kept)/[^/]+\.json"),
    _kind("registration", r"registrations/[^/]+\.json"),
    _kind("gate-run", r"gates/[^/]+/[^/]+\.json"),
    _kind("deployment", r"deployments/[^/]+/\d{8}\.json"),
    _kind("order", r"orders/[^/]+/[^/]+\.json"),
    _kind("wait", r"waits/[^/]+/[^/]+\.json"),
    _kind("study", r"studies/[^/]+/(finished|journal/\d{9})\.json"),
    _kind("canary", r"canary/[^/]+/\d{8}\.json"),
    _kind("wear", r"holdout/[^/]+/\d{8}\.json"),
    _kind("invitation", r"nodes/[^/]+/invitation\.json"),
    _kind("report", r"runs/(last/)?[^/]+\.json"),
    _kind("finding", r"findings/[^/]+/[0-9a-f]{64}\.json"),
    _kind("window", r"windows/[^/]+/(\d{8}|reference-[0-9a-f]{64})\.json"),
    _kind("hold", r"holds/[^/]+/\d{8}\.json"),
    _kind("answer", r"answers/[^/]+/[0-9a-f]{64}(-resolved|-later(-\d+)?|-told|-telling-\d+)?\.json"),
    _kind("retrain", r"retrains/[^/]+(/[^/]+)?\.json"),
    _kind("adoption", r"adoptions/[^/]+/\d{8}\.json", "approver"),
    _kind("log-file", r"log/[^/]+/(feedback/)?chain/[^/]+/\d{8}\.json", "log"),
    _kind("log-rewrite", r"log/[^/]+/(feedback/)?rewrites/\d{8}\.json"),
    _kind("score", r"scores/[0-9a-f]{64}/(part-\d{6}-\d{6}|unit-\d{6}|manifest)\.json"),
    _kind("erasure", r"erasures/[^/]+/\d{8}\.json"),
    _kind("label-request", r"label-requests/[^/]+/[^/]+\.json"),
)


OF_RECORDS_ALONE = (
    "versions/", "datasets/", "snapshots/", "listings/", "readings/", "rejects/", "kept/", "registrations/", "gates/",
    "deployments/", "orders/", "adoptions/", "runs/", "findings/", "windows/", "holds/", "answers/", "retrains/",
    "canary/", "label-requests/", "scores/", "erasures/",
)  # fmt: skip
OF_RECORDS_AND_OTHERS = ("work/", "studies/")  # whose other objects have no .json in their names
BESIDE_WEAR = re.compile(r"^holdout/[^/]+/[^/]*\.json", re.DOTALL)  # deeper are uses of before they were a chain


def kind_of(key: str) -> Kind | None:
    """What kind of record an object of this name holds; None for an object that is no signed record."""
    return next((kind for kind in KINDS if kind.names.match(key)), None)


def is_misnamed(key: str) -> bool:
    """Whether an object lies where records do and has the name of none: one digit more, a folder in between. Readers
    that list a folder find it, and nobody of ours writes one."""
    beside = key.startswith(OF_RECORDS_ALONE) or (key.startswith(OF_RECORDS_AND_OTHERS) and ".json" in key)
    beside = beside or (key.startswith("log/") and key.endswith(".json"))  # whose other objects are Parquet and media
    beside = beside or BESIDE_WEAR.match(key) is not None or (key.startswith("nodes/") and "invitation" in key)
    return beside and kind_of(key) is None
