"""A finding is what our monitor signed under the digest of what it says, and nothing else is one."""

from __future__ import annotations

import json

import pytest
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.monitoring.finding import (
    Finding,
    WindowSpan,
    at_least,
    findings_of,
    load_finding,
    publish_finding,
)
from mlratchet.models.ports.storage import ObjectNotFound
from pydantic import ValidationError

FINDING = Finding(
    pipeline="shop",
    version=7,
    generation=3,
    window=WindowSpan(from_s=1000, to_s=4600, rows=812, files=("a" * 64,)),
    kind="quality",
    subject="accuracy",
    severity="alarm",
    measure="accuracy",
    effect=0.81,
    interval=(0.78, 0.84),
    n=812,
    threshold=">= 0.9",
    method="e-detector",
    words="accuracy fell below 0.9",
    evidence={"window": "b" * 64},
    policy="c" * 64,
    at_s=4600,
)


@pytest.fixture
def raw() -> MemoryStore:
    return MemoryStore("b")


@pytest.fixture
def store(raw: MemoryStore) -> RecordStore:
    return RecordStore(raw, MemoryKeys(), now=lambda: 5000.0)


def test_what_was_published_is_read_again_under_its_digest(store: RecordStore) -> None:
    identity = publish_finding(store, FINDING)
    assert publish_finding(store, FINDING) == identity == FINDING.id
    assert load_finding(store, "shop", identity) == FINDING
    assert list(findings_of(store, "shop")) == [FINDING]
    assert FINDING.reason == "accuracy fell below 0.9, window 1970-01-01T00:16:40Z"


def test_a_planted_finding_is_not_there(raw: MemoryStore, store: RecordStore) -> None:
    raw.put(FINDING.key, FINDING.canonical())
    with pytest.raises(ObjectNotFound):
        load_finding(store, "shop", FINDING.id)
    assert list(findings_of(store, "shop")) == []


def test_an_edited_finding_is_not_believed(raw: MemoryStore, store: RecordStore) -> None:
    publish_finding(store, FINDING)
    edited = {**json.loads(raw.get(FINDING.key)), "words": "nothing happened"}
    raw.put(FINDING.key, canonical_json(edited))
    with pytest.raises(ObjectNotFound, match="changed"):
        load_finding(store, "shop", FINDING.id)


def test_a_finding_that_is_copied_to_another_pipeline_is_not_believed(raw: MemoryStore, store: RecordStore) -> None:
    publish_finding(store, FINDING)
    raw.put(FINDING.key.replace("/shop/", "/other/"), raw.get(FINDING.key))
    with pytest.raises(ObjectNotFound, match="copied"):
        load_finding(store, "other", FINDING.id)


def test_a_record_of_ours_under_the_digest_of_another_is_refused(store: RecordStore) -> None:
    other = FINDING.model_copy(update={"words": "quite another"})
    store.create(FINDING.key, other.canonical())
    with pytest.raises(SecurityError, match="copied or changed"):
        load_finding(store, "shop", FINDING.id)


@pytest.mark.parametrize("identity", ["", "../x", "A" * 64, "a" * 63])
def test_what_is_no_digest_names_no_finding(store: RecordStore, identity: str) -> None:
    with pytest.raises(ObjectNotFound, match="64 hex digits"):
        load_finding(store, "shop", identity)


def test_a_window_goes_forward() -> None:
    with pytest.raises(ValidationError, match="not before"):
        WindowSpan(from_s=5, to_s=5, rows=0)


def test_severities_ascend() -> None:
    assert at_least("alarm", "warning")
    assert at_least("warning", "warning")
    assert not at_least("note", "warning")
