"""An audit holds what served beside the ledger against the canary records, and those against ledger and decisions."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.models.audit import canaries
from mlratchet.models.inference_log.file import LogFile
from mlratchet.models.promotion.canary.entry import canary_key

from tests.unit.audit.conftest import World
from tests.unit.promotion.canaries import HOUR, Canary


@pytest.fixture
def canary(world: World) -> Canary:
    made = Canary(world)
    made.pull_back()
    return made


def test_a_whole_canary_is_told_and_passes(world: World, canary: Canary) -> None:
    canary.put("shadow", began_s=world.now_s, expires_s=world.now_s + HOUR)
    report = world.audit()
    assert report.passed, report.line()
    assert "2 canaries, each staged and under its ledger entry" in report.notes


def edited(canary: Canary) -> None:
    store, key = canary.world.store, canary_key("digits", 1)
    store.put(key, store.get(key).replace(b'"share":0.25', b'"share":0.95'))


def staging_by_a_stranger(canary: Canary) -> None:
    world, ours = canary.world, canary.world.keys
    world.keys = MemoryKeys()
    digest = canary.staged()
    world.keys = ours
    canary.put("share", staging=digest)


FOUND: dict[str, tuple[Callable[[Canary], Any], str]] = {
    "cut in the middle": (lambda c: c.world.store.delete(canary_key("digits", 1)), "expected entry 1"),
    "edited": (edited, "does not fit"),
    "planted": (lambda c: c.world.store.put(canary_key("digits", 3), b"{}"), "is not signed"),
    "replayed": (
        lambda c: c.world.store.put(canary_key("digits", 3), c.world.store.get(canary_key("digits", 1))),
        "it was copied here",
    ),
    "under no ledger entry": (lambda c: c.put("share", head="0" * 64), "which is not it"),
    "another version": (lambda c: c.put("share", version=3), "about something else"),
    "staging by a stranger": (staging_by_a_stranger, "not in the trusted list"),
    "ended by no decision": (lambda c: c.put("ended", decision="d" * 64), "is missing"),
    "ended by another's decision": (lambda c: c.put("ended", decision=c.staging), "the decision that ended it"),
}


@pytest.mark.parametrize("what", FOUND)
def test_what_was_done_to_a_canary_is_found(world: World, canary: Canary, what: str) -> None:
    do, words = FOUND[what]
    do(canary)
    report = world.audit()
    assert not report.passed
    assert any(re.search(words, problem) for problem in report.problems), report.problems


def test_a_version_that_answered_without_being_named_is_found(
    world: World, canary: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    began_s = canary.began_s

    def logged(version: int, since_s: float, until_s: float) -> None:
        said = LogFile(
            pipeline="digits", holds="answers", writer="w", number=1, previous="", object="log/digits/o", sha256="s",
            size_bytes=1, rows=1, version=version, first_s=since_s, last_s=until_s, settled_s=until_s,
            written_s=until_s,
        )  # fmt: skip
        record = type("Record", (), {"said": said})()
        walk = type("Walk", (), {"records": (record,)})()
        monkeypatch.setattr(canaries, "walk_chains", lambda *_, **__: walk)

    for version, since_s, until_s, fine in (
        (3, 0.0, 1e12, True),  # the champion, at any time
        (4, began_s, began_s + 10, True),
        (4, began_s - HOUR, began_s, False),
        (4, began_s, began_s + HOUR, False),  # after its pull-back
        (9, began_s, began_s + 1, False),
        (0, 0.0, 1.0, True),  # nobody was loaded
    ):
        logged(version, since_s, until_s)
        report = world.audit()
        assert report.passed == fine, (version, since_s - began_s, report.problems)
        assert fine or f"version {version} answered requests" in report.problems[0]
