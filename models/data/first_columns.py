"""The columns of a pipeline's first delivery: who a row without an id of its own is, is said in these, for good, and
how its numbers and times are written.

`columns/<pipeline>.json` is published once by conditional create and signed with the installed key: whoever writes to
the bucket could else move rows from the side that trains to the side that judges. What a later
delivery is the first to tell is recorded beside it in the same way, as `columns/<pipeline>/2.json` and on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.signing import DetachedSignature, Signer, TrustedKeys
from mlratchet.models.ports.storage import ObjectExists, ObjectNotFound, ObjectStore
from mlratchet.models.schema.numbers import Mark
from mlratchet.models.schema.time_formats import check_format

MOST_DIGITS = 9  # of a number in a name; Python reads no whole number of some thousand
MARKS: Mapping[str, Mark] = {"": "", ".": ".", ",": ","}


@dataclass(frozen=True, kw_only=True)
class FirstColumns:
    """As recorded."""

    pipeline: str
    columns: tuple[str, ...]
    snapshot_id: str  # whose they are
    at_s: float  # seconds since the epoch
    number_marks: Mapping[str, Mark] = field(default_factory=dict)  # decimal mark by column
    time_formats: Mapping[str, str] = field(default_factory=dict)  # format by column; "": no delivery told it


def columns_key(pipeline: str, number: int = 1) -> str:
    """Where they are."""
    return f"columns/{pipeline}.json" if number == 1 else f"columns/{pipeline}/{number}.json"


def publish_first_columns(
    store: ObjectStore, first: FirstColumns, signer: Signer, trusted: TrustedKeys, *, number: int = 1
) -> FirstColumns:
    """By conditional create; those that came first stand and are returned."""
    body = _body(first, number)
    signature = signer.sign(body, purpose="columns")
    document = {"body": body.decode(), "key_id": signature.key_id, "signature": signature.value}
    try:
        store.create(columns_key(first.pipeline, number), canonical_json(document))
    except ObjectExists:
        found = find_first_columns(store, first.pipeline, trusted, number=number)
        assert found is not None, "it exists"
        return found
    return first


def find_first_columns(
    store: ObjectStore, pipeline: str, trusted: TrustedKeys, *, number: int = 1
) -> FirstColumns | None:
    """None before the first delivery. Raises ``SecurityError`` for what no trusted key signed as this pipeline's."""
    key = columns_key(pipeline, number)
    where = f"{store.bucket}/{key}"
    try:
        data = store.get(key)
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
            number_marks={str(name): MARKS[mark] for name, mark in inner.get("number_marks", {}).items()},
            time_formats={str(name): _format(text) for name, text in inner.get("time_formats", {}).items()},
        )
        if int(inner.get("number", 1)) != number:
            raise ValueError(f"number {inner['number']}")
    except (
        ArithmeticError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:  # a number beyond float too
        raise SecurityError(f"{where}: does not hold the columns of a first delivery; it was changed") from error
    trusted.verify(signature, body, purpose="columns", role="pipeline", at_s=found.at_s, what=where, anchored=True)
    if found.pipeline != pipeline:
        raise SecurityError(f"{where}: holds the columns of {found.pipeline}; it was changed")
    return found


def changed_columns(store: ObjectStore, pipeline: str, trusted: TrustedKeys) -> list[str]:
    """A line for each object in their place that does not hold them, in words that name it."""
    first, later = columns_key(pipeline), f"columns/{pipeline}/"
    keys = [first] if store.exists(first) else []
    problems = []
    for key in (*keys, *(info.key for info in store.list(later))):
        digits = "1" if key == first else key.removeprefix(later).removesuffix(".json")
        number = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < MOST_DIGITS else 0
        if key != columns_key(pipeline, number):
            problems.append(f"{store.bucket}/{key}: is not the name of columns of a delivery")
            continue
        try:
            find_first_columns(store, pipeline, trusted, number=number)
        except SecurityError as error:
            problems.append(str(error))
    return problems


def _format(text: Any) -> str:
    """Raises ``ValueError`` for what is no format."""
    if text != "":
        check_format(str(text))
    return str(text)


def _body(first: FirstColumns, number: int) -> bytes:
    fields = {
        "pipeline": first.pipeline,
        "columns": list(first.columns),
        "snapshot_id": first.snapshot_id,
        "at_s": first.at_s,
    }
    marks = {"number_marks": dict(first.number_marks)} if first.number_marks else {}
    forms = {"time_formats": dict(first.time_formats)} if first.time_formats else {}
    return canonical_json(fields | marks | forms | ({"number": number} if number > 1 else {}))
