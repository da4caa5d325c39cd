"""Signatures: who vouches for a decision or a ledger entry, and whom a verifier believes.

Ed25519 (RFC 8032), which is deterministic: signing the same bytes again gives the same signature, so every publication
of one may be repeated. What is signed is prefixed with its purpose, so that a signature of one kind of document says
nothing about another.

A signing time is a claim of whoever holds the key: with a stolen key it can be back-dated. What a revoked key signed is
therefore believed only when it is *anchored*: something that stands without that key shows that it existed before the
revocation. That is a later ledger entry by another key, or the head noted in the public list when the key was revoked.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from mlratchet.models.config import StrictModel
from mlratchet.models.errors import ConfigurationError, SecurityError
from pydantic import Field, ValidationError, field_validator

Role = Literal["pipeline", "approver", "log"]  # `log`: of the log writer; it signs log files and nothing else
Purpose = Literal[
    "decision", "ledger", "approval", "columns", "head",
    # signed records (`signed_records.py`)
    "claim", "result", "checkpoint", "upload", "dataset", "snapshot", "listing", "reading", "registration", "gate-run",
    "version", "deployment", "order", "wait", "report", "study", "wear", "invitation", "adoption", "finding", "window",
    "hold", "answer", "retrain", "canary", "erasure",
    "log-file", "log-rewrite", "label-request", "log-hash", "score",
]  # fmt: skip
KEY_BYTES = 32
FORMAT: Literal[1] = 1  # of the public list
CLOCK_TOLERANCE_S = 7200.0  # seconds by which the clocks of two machines may differ, at the end of a person's key
Anchored = Literal["noted"] | bool


class DetachedSignature(NamedTuple):
    """One signature and whose."""

    key_id: str
    value: str  # base64 of the 64 bytes


def _message(purpose: Purpose, data: bytes) -> bytes:
    return b"mlratchet/" + purpose.encode() + b"/1\0" + data


def key_id_of(public_key: bytes) -> str:
    """The name of a key: the first 16 hex digits of the SHA-256 of its 32 public bytes."""
    return hashlib.sha256(public_key).hexdigest()[:16]


class Signer:
    """A private key. It never shows itself: not in `repr`, not in an error, not in a pickle."""

    def __init__(self, private_key: Ed25519PrivateKey) -> None:
        self._private = private_key
        raw = private_key.public_key().public_bytes_raw()
        self.key_id = key_id_of(raw)
        self.public_key = base64.b64encode(raw).decode()

    @classmethod
    def generate(cls) -> Signer:
        """A new key from the operating system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_text(cls, text: str, *, where: str) -> Signer:
        """From PKCS 8 PEM without a passphrase, or base64 of the 32 secret bytes.

        `where` names the source in errors. Raises ``ConfigurationError``; the text is never part of it.
        """
        problem = "expected an unencrypted Ed25519 key in PEM, or base64 of its 32 bytes; `ratchet keys new` makes one"
        try:
            if "PRIVATE KEY" in text:
                private = serialization.load_pem_private_key(text.encode(), password=None)
            else:
                private = Ed25519PrivateKey.from_private_bytes(base64.b64decode(text.strip(), validate=True))
        except (ValueError, TypeError, binascii.Error):
            raise ConfigurationError(f"{where}: not a signing key; {problem}") from None  # the cause holds the text
        if not isinstance(private, Ed25519PrivateKey):
            raise ConfigurationError(f"{where}: a {type(private).__name__}; {problem}")
        return cls(private)

    def pem(self) -> str:
        """PKCS 8 PEM, for a file that its owner alone reads."""
        return self._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()

    def sign(self, data: bytes, *, purpose: Purpose) -> DetachedSignature:
        """Sign `data` for one purpose."""
        return DetachedSignature(self.key_id, base64.b64encode(self._private.sign(_message(purpose, data))).decode())

    def __repr__(self) -> str:
        return f"Signer({self.key_id})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError(f"the private key {self.key_id} does not leave its process")


class Anchor(StrictModel):
    """The newest ledger entry of a pipeline when a key was revoked: what the chain held up to it counts as earlier."""

    generation: int = Field(ge=1)
    digest: str
    """SHA-256 hex of the entry's bytes."""


class TrustedKey(StrictModel):
    """One line of the public list."""

    id: str
    public_key: str
    """Base64 of the 32 bytes."""
    role: Role
    owner: str = Field(min_length=1)
    valid_from_s: float
    """Seconds since the epoch, for reading: from when on it signs."""
    rotated_s: float | None = None
    """Retired in good order: what it signed still verifies, and it signs nothing more."""
    revoked_s: float | None = None
    """Not to be believed from then on, and before only what is anchored."""
    reason: str = ""
    anchors: dict[str, Anchor] = Field(default_factory=dict)
    """Pipeline -> its newest ledger entry at the revocation."""

    @field_validator("public_key")
    @classmethod
    def _is_a_key(cls, text: str) -> str:
        raw = base64.b64decode(text, validate=True)
        if len(raw) != KEY_BYTES:
            raise ValueError(f"expected base64 of {KEY_BYTES} bytes, got {len(raw)}")
        return text

    @property
    def raw(self) -> bytes:
        """The 32 bytes."""
        return base64.b64decode(self.public_key)

    def state(self) -> str:
        """`active`, `rotated` or `revoked`."""
        if self.revoked_s is not None:
            return "revoked"
        return "rotated" if self.rotated_s is not None else "active"


class KeyList(StrictModel):
    """The public list as it is written."""

    format: Literal[1] = FORMAT
    keys: tuple[TrustedKey, ...] = Field(default=(), strict=False)


class TrustedKeys:
    """Whom a verifier believes. Comes from outside the bucket: whoever could write both could sign with any key."""

    def __init__(self, keys: Iterable[TrustedKey] = ()) -> None:
        self._keys: dict[str, TrustedKey] = {}
        for key in keys:
            if key.id != key_id_of(key.raw) or key.id in self._keys:
                raise SecurityError(f"trusted key {key.id}: its id is not that of its public key, or it stands twice")
            self._keys[key.id] = key

    @classmethod
    def from_json(cls, text: str | bytes, *, where: str) -> TrustedKeys:
        """Raises ``SecurityError`` naming `where` for anything that is not such a list."""
        try:
            return cls(KeyList.model_validate_json(text).keys)
        except ValidationError as exc:
            first = exc.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "the document"
            raise SecurityError(f"{where}: not a list of trusted keys: {place}: {first['msg']}") from exc

    def to_json(self) -> str:
        """Readable; holds nothing secret."""
        return json.dumps(KeyList(keys=tuple(self)).model_dump(mode="json"), indent=2) + "\n"

    def __iter__(self) -> Iterator[TrustedKey]:
        return iter(self._keys.values())

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, key_id: str) -> TrustedKey | None:
        """The key, or None."""
        return self._keys.get(key_id)

    def replacing(self, key: TrustedKey) -> TrustedKeys:
        """A copy with `key` added, or in the place of the one of its id."""
        return TrustedKeys({**self._keys, key.id: key}.values())

    def verify(
        self,
        signature: DetachedSignature,
        data: bytes,
        *,
        purpose: Purpose,
        role: Role,
        at_s: float,
        what: str,
        anchored: Anchored = False,
    ) -> TrustedKey:
        """Who signed `data`.

        Args:
            signature: Of `data`.
            data: The bytes.
            purpose: What kind of document it is.
            role: The role that may sign it.
            at_s: When it says it was signed, seconds since the epoch.
            what: Names the document in errors.
            anchored: Whether something that stands without this key shows that it existed before the key's revocation:
                a later entry by another key, or, whatever its date, the head that was noted then.

        Raises:
            SecurityError: An unknown key, another role's, one that is not to be believed, or a wrong signature.
        """
        key = self._keys.get(signature.key_id)
        if key is None:
            raise SecurityError(f"{what}: signed by key {signature.key_id[:32]!r}, which is not in the trusted list")
        if key.role != role:
            raise SecurityError(f"{what}: signed by the {key.role} key {key.id} of {key.owner}, expected a {role} key")
        try:
            value = base64.b64decode(signature.value, validate=True)
            Ed25519PublicKey.from_public_bytes(key.raw).verify(value, _message(purpose, data))
        except (InvalidSignature, ValueError, TypeError) as exc:  # TypeError: a number where text should be
            raise SecurityError(f"{what}: the signature of key {key.id} does not fit; it was changed") from exc
        refuse_outside_life(key, at_s, what=what, anchored=anchored)
        return key


def refuse_outside_life(key: TrustedKey, at_s: float, *, what: str, anchored: Anchored) -> None:
    """Raises ``SecurityError`` when the key is not to be believed about this; see `TrustedKeys.verify`.

    The time in a signature is a claim: it is held against nothing but the end of a key. A key that was retired in good
    order goes on verifying, also what a clock that was ahead dated after its end; a person alone has to answer anew.
    """
    whose = f"key {key.id} of {key.owner}"
    if key.revoked_s is None:
        ends_s = key.rotated_s + CLOCK_TOLERANCE_S if key.rotated_s is not None else math.inf
        if key.role == "approver" and not anchored and at_s >= ends_s:
            raise SecurityError(f"{what}: signed after {whose} was rotated out")
        return
    if anchored == "noted":
        return
    why = f"{whose} was revoked ({key.reason or 'no reason given'})"
    if at_s >= key.revoked_s:
        raise SecurityError(f"{what}: signed after {why}")
    if not anchored:
        raise SecurityError(f"{what}: nothing shows that it was signed before {why}")
