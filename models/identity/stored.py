"""JSON documents in the bucket that carry no digest of their own: whoever writes there can have written anything.

A `RecordStore` gives those alone that are signed; a bare one gives whatever is there.
"""

from __future__ import annotations

import json
from typing import Any

from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.signed_records import without_stamp
from mlratchet.models.ports.storage import ObjectStore


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
