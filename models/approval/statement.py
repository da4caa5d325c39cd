"""What a person says about one version, as a signed document in the bucket.

The subject of a statement is everything that a gate's verdict is about: version, bytes, policy, data and the champion
that would be replaced. When any of it changes, the digest of the subject changes, and earlier statements are about
something else.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Literal

from mlratchet.models.config import StrictModel
from mlratchet.models.identity.canonical import canonical_json, digest, digest_bytes
from mlratchet.models.identity.signing import DetachedSignature, Signer
from mlratchet.models.ports.storage import ObjectExists, ObjectStore
from pydantic import Field, ValidationError, model_validator

Method = Literal["signature", "prefect-ui"]
KEY = re.compile(r"/(?P<key_id>[0-9a-f]{16})/(?P<number>\d{4})\.json$")
TRIES = 20  # statements that one key may publish at the same moment


class Subject(StrictModel):
    """What is approved or rejected."""

    pipeline: str
    gate: str
    version: int
    work_key: str
    manifest: str
    """Digest of the artifact's manifest."""
    policy: str
    """Digest of the gates' policy."""
    dataset: str
    champion_version: int | None
    """Who would be replaced; None for the first model."""

    @property
    def id(self) -> str:
        """SHA-256 hex."""
        return digest(self.model_dump(mode="json"))

    @property
    def folder(self) -> str:
        """Where everything that is said about it is kept."""
        return f"approvals/{self.pipeline}/{self.id}/"


class Statement(StrictModel):
    """Who said what, why, and until when it counts."""

    subject: Subject
    decision: Literal["approve", "reject"]
    approver: str = Field(min_length=1, max_length=200)
    reason: str = Field(min_length=1, max_length=2000)
    at_s: float
    """Seconds since the epoch."""
    expires_s: float
    """Seconds since the epoch; an approval counts no longer from here on. A rejection does not expire."""
    method: Method
    """`signature`: the approver's own key signed. `prefect-ui`: a form, attested by the pipeline's key."""

    @model_validator(mode="after")
    def _expires_later(self) -> Statement:
        if self.expires_s <= self.at_s:
            raise ValueError("expires_s must be later than at_s")
        if not self.reason.strip():
            raise ValueError("a reason is required")
        return self

    def body(self) -> bytes:
        """The bytes that are signed."""
        return canonical_json(self.model_dump(mode="json"))


@dataclass(frozen=True, kw_only=True)
class SignedStatement:
    """A statement as it was read; nothing about it is verified yet."""

    statement: Statement
    signature: DetachedSignature
    key: str  # of the object
    digest: str  # SHA-256 hex of the object's bytes


def sign(statement: Statement, signer: Signer) -> bytes:
    """The document to publish."""
    signature = signer.sign(statement.body(), purpose="approval")
    return canonical_json({"statement": statement.model_dump(mode="json"), "signature": signature._asdict()})


def publish(store: ObjectStore, statement: Statement, signer: Signer) -> SignedStatement:
    """Publish below the subject, as the key's next statement. Raises ``ObjectExists`` after `TRIES` lost races."""
    document = sign(statement, signer)
    folder = f"{statement.subject.folder}{signer.key_id}/"
    number = 1 + sum(1 for _ in store.list(folder))
    for attempt in range(number, number + TRIES):
        try:
            store.create(f"{folder}{attempt:04d}.json", document)
        except ObjectExists:
            continue  # the same person said something else a moment before
        return parse(f"{folder}{attempt:04d}.json", document)
    raise ObjectExists(f"{store.bucket}/{folder}: {TRIES} statements came first; try again")


def parse(key: str, document: bytes) -> SignedStatement:
    """Raises ``ValueError`` for what is no statement."""
    parts = json.loads(document)
    if not isinstance(parts, dict) or set(parts) != {"statement", "signature"}:
        raise ValueError("expected statement and signature")
    signature = DetachedSignature(**parts["signature"])
    return SignedStatement(
        statement=Statement.model_validate(parts["statement"]),
        signature=signature,
        key=key,
        digest=digest_bytes(document),
    )


def read(store: ObjectStore, subject: Subject) -> tuple[list[SignedStatement], list[str]]:
    """Everything said about a subject, unverified, and a line per object that is no statement."""
    found, damaged = [], []
    for info in store.list(subject.folder):
        match = KEY.search(info.key)
        if match is None:
            continue  # the request
        try:
            one = parse(info.key, store.get(info.key))
            if one.signature.key_id != match["key_id"]:
                raise ValueError(f"signed by {one.signature.key_id}, kept under {match['key_id']}")
            found.append(one)
        except (ValueError, TypeError, KeyError, RecursionError, ValidationError) as error:
            damaged.append(f"{info.key}: not a statement ({str(error).splitlines()[0]})")
    return found, damaged
