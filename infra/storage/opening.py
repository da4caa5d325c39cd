"""The buckets that the settings name."""

from __future__ import annotations

from mlratchet.infra.settings import Settings
from mlratchet.infra.storage.s3 import S3Store


def open_bucket(settings: Settings, name: str | None = None) -> S3Store:
    """A bucket of the stack's S3; the store bucket unless `name` says another."""
    token = settings.s3_session_token
    return S3Store(
        name or settings.store_bucket,
        endpoint_url=settings.s3_endpoint_url,
        region=settings.s3_region,
        access_key=settings.s3_access_key.get_secret_value(),
        secret_key=settings.s3_secret_key.get_secret_value(),
        session_token=token.get_secret_value() if token else None,
    )
