"""A finding: what was measured in one window of the log and deserves a look, as a signed document named by its digest.

`findings/<pipeline>/<digest>.json`. The digest is over all that it says, so a finding that was edited has another name;
the signature says that the monitor of this installation made it. It rests on the log files that it names by digest, so
that anybody with the log can compute it again.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Literal

from mlratchet.models.config import StrictModel
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.identity.stored import stored_document
from mlratchet.models.moments import utc
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore
from pydantic import Field, ValidationError, model_validator

logger = logging.getLogger(__name__)

FINDINGS = "findings/"
HEX = re.compile(r"^[0-9a-f]{64}$")

FindingKind = Literal["inputs", "outputs", "quality", "service", "data", "hardware"]
Severity = Literal["note", "warning", "alarm"]
SEVERITIES: tuple[Severity, ...] = ("note", "warning", "alarm")  # ascending


class WindowSpan(StrictModel):
    """A stretch of the log."""

    from_s: float
    """Seconds since the epoch; the first moment in it."""
    to_s: float
    """The first moment after it."""
    rows: int = Field(ge=0)
    files: tuple[str, ...] = Field(default=(), strict=False)
    """SHA-256 of the log files that it was read from, in the order of their names."""
    whole: bool = True
    """False: files are missing or do not verify, so that what rests on it is inconclusive."""

    @model_validator(mode="after")
    def _ascends(self) -> WindowSpan:
        if not self.from_s < self.to_s:
            raise ValueError(f"from_s {self.from_s:g} is not before to_s {self.to_s:g}")
        return self


class Finding(StrictModel):
    """One thing that was found. Values that do not exist are None."""

    pipeline: str
    version: int
    generation: int
    window: WindowSpan
    kind: FindingKind
    subject: str
    """Field, metric, or `metric on slice=value`; what a rule of `monitoring.actions` names after the kind."""
    severity: Severity
    measure: str
    """What was measured: `wasserstein`, `accuracy`, `errors`."""
    effect: float | None = None
    interval: tuple[float, float] | None = Field(default=None, strict=False)
    n: int = Field(ge=0)
    """Rows that it rests on."""
    threshold: str
    """What it was held against, in words: `<= 0.1`."""
    method: str
    words: str
    """One line for a person."""
    evidence: dict[str, str] = Field(default_factory=dict)
    """What it rests on besides the log -> SHA-256 of it (`window`: the window record, `reference`, `labels`)."""
    reference: str = ""
    """What the window was compared with."""
    policy: str
    """Digest of the `monitoring` section that it was judged by."""
    at_s: float
    """The moment of the look: the end of the window, so that a second look finds the same."""

    def canonical(self) -> bytes:
        """The bytes whose SHA-256 is its id."""
        return canonical_json(self.model_dump(mode="json"))

    @property
    def id(self) -> str:
        """SHA-256 hex."""
        return digest_bytes(self.canonical())

    @property
    def key(self) -> str:
        """Of its object."""
        return f"{FINDINGS}{self.pipeline}/{self.id}.json"

    @property
    def reason(self) -> str:
        """As it stands in what follows from it: a run, a decision, an entry of the ledger."""
        return f"{self.words}, window {utc(self.window.from_s)}"


def publish_finding(store: ObjectStore, finding: Finding) -> str:
    """Store it, signed by the store's key; idempotent. Returns its id."""
    store.create(finding.key, finding.canonical())
    return finding.id


def load_finding(store: ObjectStore, pipeline: str, identity: str) -> Finding:
    """A finding of ours.

    Args:
        store: A `RecordStore`: what does not verify is not there.
        identity: Its id, SHA-256 hex.

    Raises ``ObjectNotFound`` where there is none or it does not verify, and ``SecurityError`` for a record of ours that
    is another than its name says.
    """
    if not HEX.match(identity):
        raise ObjectNotFound(f"{identity!r} is no id of a finding, 64 hex digits; `ratchet monitor` lists them")
    key = f"{FINDINGS}{pipeline}/{identity}.json"
    where = f"{store.bucket}/{key}"
    document = stored_document(store, key, "pipeline", "kind", "subject", "words")
    try:
        found = Finding(**document)
    except ValidationError as error:
        raise SecurityError(f"{where}: is not a finding; it was changed") from error
    if found.id != identity or found.pipeline != pipeline:
        raise SecurityError(f"{where}: holds finding {found.id[:12]} of {found.pipeline}; it was copied or changed")
    return found


def findings_of(store: ObjectStore, pipeline: str) -> Iterator[Finding]:
    """Every finding of a pipeline that verifies, in the order of their ids; what does not is not there."""
    for info in store.list(f"{FINDINGS}{pipeline}/"):
        identity = info.key.rpartition("/")[2].removesuffix(".json")
        try:
            yield load_finding(store, pipeline, identity)
        except (ObjectNotFound, SecurityError) as error:
            logger.warning("%s", error)


def at_least(found: Severity, wanted: Severity) -> bool:
    """Whether a severity is this one or above."""
    return SEVERITIES.index(found) >= SEVERITIES.index(wanted)
