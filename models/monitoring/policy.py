"""The `monitoring` section that a finding was judged by, kept by its digest: a file may say another thing meanwhile."""

from __future__ import annotations

from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.stored import store_once
from mlratchet.models.monitoring.config import MonitoringConfig
from mlratchet.models.ports.storage import ObjectStore
from pydantic import ValidationError


def publish_policy(store: ObjectStore, config: MonitoringConfig) -> None:
    """Idempotent."""
    store_once(store, _key(config.digest()), canonical_json(config.model_dump(mode="json")))


def load_policy(store: ObjectStore, digest: str) -> MonitoringConfig:
    """Raises ``ObjectNotFound``, ``DigestMismatch`` for other bytes than the digest says, ``SecurityError`` for what is
    no such section in this release."""
    data = store.get(_key(digest), sha256=digest)
    try:
        return MonitoringConfig.model_validate_json(data)
    except ValidationError as error:
        raise SecurityError(f"{store.bucket}/{_key(digest)}: is no monitoring section of this release") from error


def _key(digest: str) -> str:
    return f"policies/{digest}.json"
