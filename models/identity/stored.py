"""Objects in a bucket where others write, too: JSON documents that carry no digest of their own, and objects that are
named by theirs.

A `RecordStore` gives those documents alone that are signed; a bare one gives whatever is there.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.signed_records import without_stamp
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore


def stored_document(store: ObjectStore, key: str, *text: str) -> dict[str, Any]:
    """The object at `key`, a JSON object whose fields `text` are strings.

    Raises ``ObjectNotFound``, and ``SecurityError`` for anything else.
    """
    try:
        document = json.loads(store.get(key))
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not all(isinstance(document.get(name), str) for name in text):
        wanted = f"a document with {', '.join(text)}" if text else "a document"
        raise SecurityError(f"{store.bucket}/{key}: is not {wanted}; it was changed")
    return without_stamp(document)


def store_once(store: ObjectStore, key: str, data: bytes) -> None:
    """Create an object whose name holds the SHA-256 of its bytes; one look where it is there already.

    What somebody else left under the name is other bytes: a `RecordStore` keeps them aside and writes over them.
    """
    try:
        info = store.head(key)
    except ObjectNotFound:
        info = None
    same_etag = info is not None and info.etag == hashlib.md5(data, usedforsecurity=False).hexdigest()
    if info is None or info.size_bytes != len(data) or not same_etag:  # some servers' ETag is no MD5: they compare
        store.create(key, data)
