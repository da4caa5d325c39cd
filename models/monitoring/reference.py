"""What a version is compared with while it serves: its own test rows, as they were when its gates judged it.

`windows/<pipeline>/reference-<digest>.json`, signed and named by what it says: sketches of every column over the test
rows, what each metric was there, and what was promised. It is made once per version from the registered outputs and the
dataset, and windows name it by its digest.
"""

from __future__ import annotations

import re
from typing import Any

from mlratchet.models.config import StrictModel
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.identity.stored import stored_document
from mlratchet.models.monitoring.measure.estimate import Reliability
from mlratchet.models.monitoring.window import WINDOWS, Figure
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore
from pydantic import Field, ValidationError

HEX = re.compile(r"^[0-9a-f]{64}$")


class Promise(StrictModel):
    """That a metric is at least, or where lower is better at most, so good."""

    metric: str
    column: str = ""
    """Of a slice; empty: all rows."""
    value: str = ""
    bound: float
    """In the unit of the metric."""
    loss: float = Field(gt=0, lt=1)
    """The same as a mean loss between 0 and 1."""
    by: str
    """Who promised: the interval on the test rows, or the pipeline file."""


class Reference(StrictModel):
    """Of one version."""

    pipeline: str
    version: int
    dataset: str
    """Its id."""
    rows: int = Field(ge=0)
    """Test rows."""
    kinds: dict[str, str] = Field(default_factory=dict)
    """Column -> its kind; fields as `field.<name>`, and `prediction` and `confidence`."""
    sketches: dict[str, Any] = Field(default_factory=dict)
    missing: dict[str, Figure] = Field(default_factory=dict)
    """Field -> share of the test rows in which it is not given."""
    figures: dict[str, Figure] = Field(default_factory=dict)
    """Every metric on the test rows."""
    promises: tuple[Promise, ...] = Field(default=(), strict=False)
    """The first is of all rows."""
    importance: dict[str, float] = Field(default_factory=dict)
    """Field -> its share of what the model relies on; empty where nobody measured it."""
    reliability: Reliability | None = None
    """How often an answer of some confidence is right; None where answers have no confidence."""

    def canonical(self) -> bytes:
        """The bytes whose SHA-256 is its digest."""
        return canonical_json(self.model_dump(mode="json"))

    def digest(self) -> str:
        """SHA-256 hex."""
        return digest_bytes(self.canonical())


def reference_key(pipeline: str, digest: str) -> str:
    """Where it is published."""
    return f"{WINDOWS}{pipeline}/reference-{digest}.json"


def publish_reference(store: ObjectStore, reference: Reference) -> str:
    """Store it, signed; idempotent. Returns its digest."""
    digest = reference.digest()
    store.create(reference_key(reference.pipeline, digest), reference.canonical())
    return digest


def load_reference(store: ObjectStore, pipeline: str, digest: str) -> Reference:
    """Raises ``ObjectNotFound`` where there is none that verifies, ``SecurityError`` for a record of ours that is
    another than its name says."""
    if not HEX.match(digest):
        raise ObjectNotFound(f"{digest!r} is no digest of a reference")
    key = reference_key(pipeline, digest)
    try:
        found = Reference(**stored_document(store, key, "pipeline", "dataset"))
    except ValidationError as error:
        raise SecurityError(f"{store.bucket}/{key}: is not a reference; it was changed") from error
    if found.digest() != digest or found.pipeline != pipeline:
        raise SecurityError(f"{store.bucket}/{key}: is another reference than its name says; it was changed")
    return found
