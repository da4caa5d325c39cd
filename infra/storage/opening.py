"""The buckets that the settings name."""

from __future__ import annotations

import threading

from mlratchet.infra.settings import AuditSettings, Settings
from mlratchet.infra.storage.s3 import S3Store
from mlratchet.infra.storage.shard_cache import ShardCache, shards_folder
from mlratchet.models.ports.storage import ObjectStore


def open_bucket(settings: Settings | AuditSettings, name: str | None = None, store: type[S3Store] = S3Store) -> S3Store:
    """A bucket of the S3 that is set; the store bucket unless `name` says another. An auditor's settings may name no
    key: boto3 then looks where it always does."""
    access, secret, token = settings.s3_access_key, settings.s3_secret_key, settings.s3_session_token
    return store(
        name or settings.store_bucket,
        endpoint_url=settings.s3_endpoint_url,
        region=settings.s3_region,
        access_key=access.get_secret_value() if access else None,
        secret_key=secret.get_secret_value() if secret else None,
        session_token=token.get_secret_value() if token else None,
    )


def shard_cache(settings: Settings, store: ObjectStore) -> ShardCache:
    """The copies of shards that this installation keeps."""
    return ShardCache(shards_folder(settings.home), store, bound_bytes=settings.shard_cache_bytes)


class Buckets:
    """The buckets of one server, each opened once: a client takes a fifth of a second to make. Thread-safe."""

    def __init__(self, settings: Settings | AuditSettings, store: type[S3Store] = S3Store) -> None:
        self._settings, self._store = settings, store
        self._open: dict[str, S3Store] = {}
        self._lock = threading.Lock()

    def __call__(self, name: str) -> S3Store:
        """By name."""
        with self._lock:
            if name not in self._open:
                self._open[name] = open_bucket(self._settings, name, self._store)
            return self._open[name]
