"""What a fresh stack needs inside: buckets."""

from __future__ import annotations

import logging

from mlratchet.infra.settings import Settings
from mlratchet.infra.storage.s3 import S3Store
from mlratchet.models.ports.storage import StorageError


def prepare_buckets(settings: Settings) -> bool:
    """Create the buckets; False while the server is not ready for it."""
    try:
        for name in (settings.raw_bucket, settings.store_bucket, settings.mlflow_bucket):
            S3Store(
                name,
                endpoint_url=settings.s3_endpoint_url,
                region=settings.s3_region,
                access_key=settings.s3_access_key.get_secret_value(),
                secret_key=settings.s3_secret_key.get_secret_value(),
            ).ensure_bucket()
    except StorageError:
        logging.getLogger(__name__).info("S3 is not ready yet", exc_info=True)
        return False
    return True
