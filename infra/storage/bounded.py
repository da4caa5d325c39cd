"""A bucket for a process that reads documents alone: whoever may write there could fill its memory with one object."""

from __future__ import annotations

from mlratchet.infra.storage.s3 import S3Store
from mlratchet.models.errors import SecurityError

MOST_BYTES = 64_000_000  # of a document: a ledger's entry, a decision, a registration


class DocumentStore(S3Store):
    """`get` looks at the size first. Files are downloaded to the disk, and their sizes are said in their manifest."""

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        """See the port. Raises ``SecurityError`` for an object that is no document."""
        size = self.head(key).size_bytes
        if size > MOST_BYTES:
            raise SecurityError(
                f"{self.bucket}/{key}: {size} bytes, expected a document of at most {MOST_BYTES}; it was changed"
            )
        return super().get(key, sha256=sha256)
