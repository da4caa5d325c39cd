"""Where keys are kept: private ones in files that their owner alone reads, or in the environment; the public list in a
file outside the bucket. Nothing here logs or returns private key material."""

from __future__ import annotations

import fcntl
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlratchet.infra.machine.atomic import write_atomically, write_private
from mlratchet.infra.settings import Settings
from mlratchet.models.errors import ConfigurationError, SecurityError
from mlratchet.models.identity.signing import Anchor, Role, Signer, TrustedKey, TrustedKeys, key_id_of
from pydantic import SecretStr, ValidationError

FORBIDDEN_MODE = 0o077  # group and others


def read_private(path: Path) -> Signer:
    """The private key in a file.

    Raises ``SecurityError`` when others than its owner may read it, ``ConfigurationError`` when it is no key.
    """
    try:
        mode = path.stat().st_mode
        if mode & FORBIDDEN_MODE:
            raise SecurityError(f"{path}: mode {mode & 0o777:04o} lets others use the private key; chmod 600 {path}")
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(
            f"{path}: the private key cannot be read ({exc}); `ratchet keys new --owner NAME` makes one"
        ) from exc
    return Signer.from_text(text, where=str(path))


def pipeline_key_file(settings: Settings) -> Path:
    """Of the pipeline's private key."""
    return settings.signing_key_file or settings.home / "keys" / "pipeline.pem"


def approver_key_file(settings: Settings, owner: str) -> Path:
    """Of an approver's private key."""
    name = re.sub(r"[^a-z0-9._@-]+", "-", owner.lower()).strip(".-") or "approver"
    return settings.approver_key_file or settings.home / "keys" / f"approver-{name}.pem"


def log_key_file(settings: Settings) -> Path:
    """Of the log writer's private key."""
    return settings.log_key_file or settings.home / "keys" / "log.pem"


def trusted_keys_file(settings: Settings) -> Path:
    """Of the public list."""
    return settings.trusted_keys or settings.home / "trusted-keys.json"


def load_trusted(file: Path) -> TrustedKeys:
    """The public list. Raises ``ConfigurationError`` when there is none, ``SecurityError`` when it is damaged."""
    try:
        text = file.read_bytes()
    except OSError as exc:
        raise ConfigurationError(
            f"{file}: no list of trusted keys ({exc.strerror}); `ratchet up` or `ratchet keys new` makes one, "
            "RATCHET_TRUSTED_KEYS names another"
        ) from exc
    return TrustedKeys.from_json(text, where=str(file))


def public_half(signer: Signer, role: Role, owner: str, *, valid_from_s: float = 0.0) -> TrustedKey:
    """What verifiers hold of a key."""
    return TrustedKey(id=signer.key_id, public_key=signer.public_key, role=role, owner=owner, valid_from_s=valid_from_s)


def usable(signer: Signer, trusted: TrustedKeys, role: Role, *, where: str) -> Signer:
    """The signer, if verifiers would believe it now. Raises ``ConfigurationError`` saying why not."""
    key = trusted.get(signer.key_id)
    if key is None:
        raise ConfigurationError(f"{where}: key {signer.key_id} is not in the list of trusted keys; `ratchet keys`")
    if key.role != role:
        raise ConfigurationError(f"{where}: key {key.id} has the role {key.role}, expected {role}")
    if key.state() != "active":
        raise ConfigurationError(f"{where}: key {key.id} was {key.state()}; `ratchet keys rotate` makes the next one")
    return signer


def _load(settings: Settings, secret: SecretStr | None, variable: str, file: Path, role: Role) -> Signer:
    where = variable if secret is not None else str(file)
    signer = Signer.from_text(secret.get_secret_value(), where=where) if secret is not None else read_private(file)
    return usable(signer, load_trusted(trusted_keys_file(settings)), role, where=where)


def load_signer(settings: Settings) -> Signer:
    """The pipeline's key: RATCHET_SIGNING_KEY, else the file. Raises for one that verifiers would not believe."""
    return _load(settings, settings.signing_key, "RATCHET_SIGNING_KEY", pipeline_key_file(settings), "pipeline")


def load_approver(settings: Settings, owner: str) -> Signer:
    """The key of a person who approves: RATCHET_APPROVER_KEY, else the file."""
    file = approver_key_file(settings, owner)
    return _load(settings, settings.approver_key, "RATCHET_APPROVER_KEY", file, "approver")


class InstalledKeys:
    """The keys port over settings. The public list is read anew each time, so that a revocation counts at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._signer: Signer | None = None

    def signer(self) -> Signer:
        """See the port. Read once: a run that goes on while the key is rotated keeps its own."""
        if self._signer is None:
            self._signer = load_signer(self._settings)
        return self._signer

    def trusted(self) -> TrustedKeys:
        """See the port."""
        return load_trusted(trusted_keys_file(self._settings))


class MemoryKeys:
    """The keys port in memory, for tests: one pipeline key that is trusted, unless told otherwise."""

    def __init__(self, signer: Signer | None = None, trusted: TrustedKeys | None = None) -> None:
        self._signer = signer or Signer.generate()
        self.list = trusted if trusted is not None else TrustedKeys([public_half(self._signer, "pipeline", "tests")])

    def signer(self) -> Signer:
        """See the port."""
        return self._signer

    def trusted(self) -> TrustedKeys:
        """See the port."""
        return self.list


@contextmanager
def editing(settings: Settings) -> Iterator[None]:
    """One change of keys at a time."""
    folder = settings.home / "keys"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write_list(settings: Settings, keys: TrustedKeys) -> None:
    file = trusted_keys_file(settings)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, keys.to_json())


def _read_list(settings: Settings) -> TrustedKeys:
    file = trusted_keys_file(settings)
    return load_trusted(file) if file.exists() else TrustedKeys()


def _trust(settings: Settings, signer: Signer, role: Role, owner: str, now_s: float) -> TrustedKey:
    key = public_half(signer, role, owner, valid_from_s=now_s)
    _write_list(settings, _read_list(settings).replacing(key))
    return key


def private_key_file(settings: Settings, role: Role, owner: str) -> Path:
    """Of the private half of a key."""
    if role == "log":
        return log_key_file(settings)
    return pipeline_key_file(settings) if role == "pipeline" else approver_key_file(settings, owner)


def ensure_pipeline_key(settings: Settings) -> None:
    """What `ratchet up` does for a fresh installation. Never replaces a key or adds one to a list that exists."""
    if settings.signing_key is None and not (
        pipeline_key_file(settings).exists() or trusted_keys_file(settings).exists()
    ):
        new_key(settings, "pipeline", "ratchet up", now_s=time.time())


def ensure_log_key(settings: Settings) -> None:
    """The same of the log writer's, also for an installation of before there was one. A list that somebody else keeps
    is left as it is: `ratchet keys new --role log` makes a key to put there."""
    own = settings.trusted_keys is None and settings.log_key_file is None
    if own and not log_key_file(settings).exists() and trusted_keys_file(settings).exists():
        new_key(settings, "log", "log writer", now_s=time.time())


def new_key(settings: Settings, role: Role, owner: str, *, now_s: float) -> TrustedKey:
    """Make a key, write its private half to its file and its public half to the list.

    Raises ``ConfigurationError`` when there is one: `rotate_key` replaces it.
    """
    file = private_key_file(settings, role, owner)
    with editing(settings):
        if file.exists():
            raise ConfigurationError(f"{file} holds a key already; `ratchet keys rotate` replaces it")
        signer = Signer.generate()
        key = _trust(settings, signer, role, owner, now_s)
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(file, signer.pem())
    return key


def rotate_key(settings: Settings, role: Role, owner: str | None, *, now_s: float) -> tuple[TrustedKey, TrustedKey]:
    """Replace the private key in its file by a new one; the old one verifies what it signed until now.

    The new key is in the list before anything signs with it, the old private key is gone before it is marked: whatever
    interrupts, no signature is made that does not verify.

    Returns:
        The old and the new key.
    """
    given = {"pipeline": settings.signing_key, "approver": settings.approver_key, "log": None}
    variable, secret = "SIGNING" if role == "pipeline" else "APPROVER", given[role]
    if secret is not None:
        raise ConfigurationError(
            f"the key comes from RATCHET_{variable}_KEY; put a new one there and `ratchet keys trust` its public half"
        )
    with editing(settings):
        file = private_key_file(settings, role, owner or "")
        old_id = read_private(file).key_id
        old = _read_list(settings).get(old_id)
        if old is None or old.role != role:
            raise ConfigurationError(f"{file}: key {old_id} is not a trusted {role} key; see `ratchet keys`")
        signer = Signer.generate()
        new = _trust(settings, signer, role, owner or old.owner, now_s)
        write_private(file, signer.pem())
        if old.state() == "active":
            old = old.model_copy(update={"rotated_s": now_s})
            _write_list(settings, _read_list(settings).replacing(old))
    return old, new


def trust_key(settings: Settings, public_key: str, role: Role, owner: str, *, now_s: float) -> TrustedKey:
    """Add a public key whose private half is kept elsewhere. Raises ``ConfigurationError`` when it stands there."""
    try:
        key = TrustedKey(id="", public_key=public_key, role=role, owner=owner, valid_from_s=now_s)
    except ValidationError as exc:
        raise ConfigurationError(
            f"not a public key: {exc.errors()[0]['msg']}; `ratchet keys export` shows one"
        ) from exc
    key = key.model_copy(update={"id": key_id_of(key.raw)})
    with editing(settings):
        held = _read_list(settings)
        if held.get(key.id) is not None:
            raise ConfigurationError(f"key {key.id} is in the list already")
        _write_list(settings, held.replacing(key))
    return key


def revoke_key(
    settings: Settings, key_id: str, *, reason: str, since_s: float, anchors: dict[str, Anchor]
) -> TrustedKey:
    """Mark a key as not to be believed from `since_s` on. `anchors`: what is known to be from before."""
    with editing(settings):
        keys = _read_list(settings)
        held = keys.get(key_id)
        if held is None:
            known = ", ".join(key.id for key in keys) or "none"
            raise ConfigurationError(f"no key {key_id} in the list; there are: {known}")
        earlier = since_s if held.revoked_s is None else min(since_s, held.revoked_s)
        key = held.model_copy(update={"revoked_s": earlier, "reason": reason, "anchors": anchors})
        _write_list(settings, keys.replacing(key))
    return key
