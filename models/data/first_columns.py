"""The columns of a pipeline's first delivery: who a row without an id of its own is, is said in these, for good.

`columns/<pipeline>.json` is published once by conditional create and signed with the installed key: whoever writes to
the bucket could else move rows from the side that trains to the side that judges.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.signing import DetachedSignature, Signer, TrustedKeys
from mlratchet.models.ports.storage import ObjectExists, ObjectNotFound, ObjectStore


@dataclass(frozen=True, kw_only=True)
class FirstColumns:
    """As recorded."""

    pipeline: str
    columns: tuple[str, ...]
    snapshot_id: str  # whose they are
    at_s: float  # seconds since the epoch


def columns_key(pipeline: str) -> str:
    """Where they are."""
    return f"columns/{pipeline}.json"


def publish_first_columns(
    store: ObjectStore, first: FirstColumns, signer: Signer, trusted: TrustedKeys
) -> FirstColumns:
    """By conditional create; those that came first stand and are returned."""
    body = _body(first)
    signature = signer.sign(body, purpose="columns")
    document = {"body": body.decode(), "key_id": signature.key_id, "signature": signature.value}
    try:
        store.create(columns_key(first.pipeline), canonical_json(document))
    except ObjectExists:
        found = find_first_columns(store, first.pipeline, trusted)
        assert found is not None, "it exists"
        return found
    return first


def find_first_columns(store: ObjectStore, pipeline: str, trusted: TrustedKeys) -> FirstColumns | None:
    """None before the first delivery. Raises ``SecurityError`` for what no trusted key signed as this pipeline's."""
    where = f"{store.bucket}/{columns_key(pipeline)}"
    try:
        data = store.get(columns_key(pipeline))
    except ObjectNotFound:
        return None
    try:
        document = json.loads(data)
        body = str(document["body"]).encode()
        signature = DetachedSignature(str(document["key_id"]), str(document["signature"]))
        inner = json.loads(body)
        found = FirstColumns(
            pipeline=str(inner["pipeline"]),
            columns=tuple(str(name) for name in inner["columns"]),
            snapshot_id=str(inner["snapshot_id"]),
            at_s=float(inner["at_s"]),
        )
    except (ArithmeticError, ValueError, KeyError, TypeError, RecursionError) as error:  # a number beyond float too
        raise SecurityError(f"{where}: does not hold the columns of a first delivery; it was changed") from error
    trusted.verify(signature, body, purpose="columns", role="pipeline", at_s=found.at_s, what=where, anchored=True)
    if found.pipeline != pipeline:
        raise SecurityError(f"{where}: holds the columns of {found.pipeline}; it was changed")
    return found


def _body(first: FirstColumns) -> bytes:
    return canonical_json(
        {
            "pipeline": first.pipeline,
            "columns": list(first.columns),
            "snapshot_id": first.snapshot_id,
            "at_s": first.at_s,
        }
    )
