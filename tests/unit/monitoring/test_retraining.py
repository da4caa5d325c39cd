"""Requests for a retrain: one for a finding, one run for a window and champion, and no reason that nobody found."""

from __future__ import annotations

from typing import Any

import pytest
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.signed_records import RecordStore, signed_record
from mlratchet.models.identity.signing import Signer
from mlratchet.models.monitoring.finding import Finding, publish_finding
from mlratchet.models.monitoring.retraining import (
    TRIES,
    AlreadyAnsweredError,
    load_request,
    request_retrain,
    requests,
    runs_of,
    take_request,
)

from tests.unit.monitoring.findings import finding


class Asked:
    """A bucket with one finding and its request."""

    def __init__(self) -> None:
        self.raw, self.keys = MemoryStore("store"), MemoryKeys()
        self.store = RecordStore(self.raw, self.keys)
        self.ended: set[str] = set()
        self.alive: set[str] = set()

    def found(self, one: Finding, *, champion: int = 4) -> str:
        publish_finding(self.store, one)
        return request_retrain(self.store, one, champion=champion, actor="monitoring", at_s=9.0)[1]

    def take(self, one: Finding, run_id: str = "r1", generation: int = 4, pipeline: str = "digits") -> Finding:
        return take_request(
            self.store, pipeline, one.id, run_id=run_id, generation=generation,
            has_ended=self.ended.__contains__, lives=self.alive.__contains__,
        )  # fmt: skip


@pytest.fixture
def asked() -> Asked:
    return Asked()


def test_a_run_has_its_reason_from_the_verified_finding(asked: Asked) -> None:
    assert asked.found(finding()) == finding().id
    assert asked.take(finding()).reason == "accuracy on eu fell below 0.90, window 1970-01-01T01:00:00Z"
    assert asked.take(finding()) == finding()  # the same run again, as after a restart
    assert runs_of(asked.store, finding().id) == ["r1"]


def test_asking_twice_is_one_request(asked: Asked) -> None:
    asked.found(finding())
    first = load_request(asked.store, finding().id)
    again, _ = request_retrain(asked.store, finding(), champion=4, actor="monitoring", at_s=77.0)
    assert again == first
    assert list(requests(asked.store)) == [first]


def test_two_findings_of_one_window_have_one_run(asked: Asked) -> None:
    other = finding(subject="accuracy")
    assert asked.found(finding()) == finding().id
    assert asked.found(other) == finding().id
    with pytest.raises(AlreadyAnsweredError, match="is of the window of finding"):
        asked.take(other)
    assert asked.found(finding(2)) == finding(2).id  # another window
    assert asked.found(finding(subject="f1"), champion=5) == finding(subject="f1").id  # another champion


def test_a_second_run_finds_nothing_to_do_while_the_first_lives_and_after_it_ended(asked: Asked) -> None:
    asked.found(finding())
    asked.take(finding())
    asked.alive.add("r1")
    with pytest.raises(AlreadyAnsweredError, match="is being answered by run r1"):
        asked.take(finding(), "r2")
    asked.ended.add("r1")
    with pytest.raises(AlreadyAnsweredError, match="was answered by run r1"):
        asked.take(finding(), "r2")


def test_another_run_takes_over_from_one_that_was_killed_and_not_for_ever(asked: Asked) -> None:
    asked.found(finding())
    for number in range(1, TRIES + 1):
        asked.take(finding(), f"r{number}")
    with pytest.raises(AlreadyAnsweredError, match="were killed"):
        asked.take(finding(), "r9")


def test_a_champion_that_came_since_needs_no_answer(asked: Asked) -> None:
    asked.found(finding())
    with pytest.raises(AlreadyAnsweredError, match="about generation 4 of digits, and 5 serves now"):
        asked.take(finding(), generation=5)


def planted_request(asked: Asked) -> None:
    """A genuine finding; the request is a stranger's."""
    publish_finding(asked.store, finding())
    key = f"retrains/{finding().id}.json"
    document = {
        "pipeline": "digits", "finding": finding().id, "champion": 4, "window": "w", "actor": "a", "at_s": 1.0,
    }  # fmt: skip
    asked.raw.put(key, signed_record(document, key, Signer.generate(), at_s=1.0))


def unsigned_request(asked: Asked) -> None:
    asked.found(finding())
    key = f"retrains/{finding().id}.json"
    body = load_request(asked.store, finding().id).model_dump(mode="json")
    asked.raw.put(key, canonical_json(body))


def copied_request(asked: Asked) -> None:
    """Of another finding, under this one's name."""
    asked.found(finding(2))
    publish_finding(asked.store, finding())
    asked.raw.put(f"retrains/{finding().id}.json", asked.raw.get(f"retrains/{finding(2).id}.json"))


def planted_finding(asked: Asked) -> None:
    asked.raw.put(finding().key, finding().canonical())


def edited_finding(asked: Asked) -> None:
    asked.found(finding())
    asked.raw.put(finding().key, asked.raw.get(finding().key).replace(b"0.90", b"0.10"))


def finding_without_a_request(asked: Asked) -> None:
    publish_finding(asked.store, finding())


@pytest.mark.parametrize(
    "spoil",
    [
        planted_request, unsigned_request, copied_request, planted_finding, edited_finding, finding_without_a_request,
        lambda asked: None,
    ],
)  # fmt: skip
def test_whoever_starts_a_run_or_writes_to_the_bucket_chooses_no_reason(asked: Asked, spoil: Any) -> None:
    spoil(asked)
    with pytest.raises(SecurityError):
        asked.take(finding())
    assert not list(asked.raw.list(f"retrains/{finding().id}/"))


@pytest.mark.parametrize("identity", ["", "../x", "a" * 63, "{{ event }}", "A" * 64])
def test_what_is_no_digest_is_refused(asked: Asked, identity: str) -> None:
    with pytest.raises(SecurityError, match="monitoring did not ask for it"):
        take_request(
            asked.store, "digits", identity, run_id="r", generation=4, has_ended=lambda _: False,
            lives=lambda _: False,
        )  # fmt: skip


def test_the_finding_of_another_pipeline_is_no_reason(asked: Asked) -> None:
    asked.found(finding())
    with pytest.raises(SecurityError):
        asked.take(finding(), pipeline="shop")


def test_a_planted_taking_keeps_no_run_from_its_request(asked: Asked) -> None:
    asked.found(finding())
    asked.raw.put(f"retrains/{finding().id}/run-1.json", b'{"run":"evil"}')
    asked.raw.put(f"retrains/{finding().id}/run-3.json", b"junk")
    assert asked.take(finding()) == finding()
    assert runs_of(asked.store, finding().id) == ["r1"]
