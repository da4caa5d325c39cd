"""A server loads what the ledger does not name only while the newest signed canary record says so."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mlratchet.infra.artifact.fetch import fetch_artifact
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.ledger.chain import entry_key
from mlratchet.models.ledger.notice import PREFIX, Notices
from mlratchet.models.ports.storage import StorageError
from mlratchet.models.promotion.canary.chain import newest_canary
from mlratchet.models.promotion.canary.entry import CanaryEntry, canary_key
from mlratchet.models.registration.record import Registration
from mlratchet.models.serving.canary_follower import LOOK_S, OUT_OF_REACH_S, RETRY_S, CanaryFollower
from mlratchet.models.serving.follower import ChampionFollower
from mlratchet.models.serving.slot import Slot

from tests.unit.audit.conftest import World
from tests.unit.promotion.canaries import HOUR, Canary


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What stands for a predictor."""

    version: int
    generation: int
    warm_up: Callable[[], None] = field(default_factory=lambda: lambda: None)


class Loader:
    """Verifies the artifact's files, and counts."""

    def __init__(self, world: World, folder: Path) -> None:
        self._world, self._folder = world, folder
        self.loaded: list[int] = []
        self.broken: set[int] = set()

    def load(self, record: Registration, generation: int) -> Any:
        self.loaded.append(record.version)
        if record.version in self.broken:
            raise RuntimeError("damaged")
        fetch_artifact(self._world.bucket, record, self._folder / str(len(self.loaded)))
        return Loaded(version=record.version, generation=generation)


class Server:
    """One that follows ledger and canary."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self.slot, self.loader = world, Slot(), Loader(world, folder)
        self.mark = (0, "")
        self.start()

    def start(self) -> None:
        """As a process that knows nothing but its home folder."""
        self.slot = Slot()
        shared: dict[str, Any] = {"keys": self.world.keys, "store": self.world.store, "loader": self.loader}
        beside = CanaryFollower("digits", self.slot, now=lambda: self.world.now_s, seen=lambda: self.mark, **shared)
        self.follower = ChampionFollower("digits", self.slot, ledger=self.world.ledger, beside=beside, **shared)
        self.follower.follow()

    def look(self) -> tuple[int | None, float, bool]:
        """Version beside the champion, its share, and whether it is in the shadow; after one look."""
        self.follower._ledger = self.world.ledger
        try:
            self.follower.follow()
        except (SecurityError, StorageError) as error:
            self.slot.load_error = str(error)
        beside = self.slot.beside
        return (beside.predictor.version, beside.share, beside.shadow) if beside is not None else (None, 0.0, False)


@pytest.fixture
def canary(world: World) -> Canary:
    return Canary(world)


@pytest.fixture
def server(world: World, tmp_path: Path) -> Iterator[Server]:
    made = Server(world, tmp_path)
    yield made
    assert made.slot.current is not None, "the champion serves, whatever becomes of a canary"
    assert made.slot.current.version == world.ledger.entries("digits")[-1].version


NOBODY = (None, 0.0, False)


def test_a_candidate_goes_through_shadow_and_shares_and_is_loaded_once(server: Server, canary: Canary) -> None:
    assert server.look() == NOBODY
    canary.put("shadow")
    assert server.look() == (4, 0.0, True)
    canary.put("share", share=0.05)
    assert server.look() == (4, 0.05, False)
    canary.put("share", share=0.25)
    canary.put("settled")
    assert server.look() == (4, 0.25, False)
    assert server.loader.loaded == [3, 4]


def test_a_candidate_that_is_promoted_serves_without_being_loaded_again(
    world: World, server: Server, canary: Canary
) -> None:
    canary.put("settled")
    assert server.look()[0] == 4
    candidate = server.slot.beside
    assert candidate is not None
    world.promote(4)
    assert server.look() == NOBODY
    assert server.loader.loaded == [3, 4]
    assert server.slot.current is not None
    assert (server.slot.current.version, server.slot.current.generation) == (4, 5)
    assert server.slot.current.warm_up is candidate.predictor.warm_up


def test_a_candidate_that_was_pulled_back_is_loaded_when_somebody_promotes_it(
    world: World, server: Server, canary: Canary
) -> None:
    canary.put("share")
    assert server.look()[0] == 4
    canary.put("ended", decision="d" * 64)
    assert server.look() == NOBODY
    world.promote(4)
    assert server.look() == NOBODY
    assert server.loader.loaded == [3, 4, 4]


def test_a_pull_back_is_an_entry(server: Server, canary: Canary) -> None:
    canary.pull_back()
    assert server.look() == NOBODY
    assert server.slot.beside_error == ""
    assert server.loader.loaded == [3]


def test_any_new_ledger_entry_ends_it(world: World, server: Server, canary: Canary) -> None:
    canary.put("share")
    assert server.look()[0] == 4
    world.promote(5)
    assert server.look() == NOBODY
    assert server.look() == NOBODY


def test_a_ledger_that_is_not_whole_ends_it(world: World, server: Server, canary: Canary) -> None:
    canary.put("share")
    assert server.look()[0] == 4
    held = world.store.get(entry_key("digits", 4))
    world.store.put(entry_key("digits", 4), b"[]")
    assert server.look() == NOBODY
    assert "cannot be read" in server.slot.beside_error
    world.store.put(entry_key("digits", 4), held)
    assert server.look()[0] == 4


def test_an_expired_record_is_not_followed(world: World, server: Server, canary: Canary) -> None:
    canary.put("share")
    world.now_s = canary.began_s + 2 * HOUR - 1
    assert server.look()[0] == 4
    world.now_s += 1
    assert server.look() == NOBODY
    server.start()
    assert server.look() == NOBODY


def test_a_candidate_that_cannot_be_loaded_is_told_and_tried_later(
    world: World, server: Server, canary: Canary
) -> None:
    server.loader.broken = {4}
    canary.put("share")
    assert server.look() == NOBODY
    assert "damaged" in server.slot.beside_error
    server.loader.broken = set()
    assert server.look() == NOBODY
    assert server.loader.loaded == [3, 4]
    world.now_s += RETRY_S
    assert server.look()[0] == 4
    assert server.slot.beside_error == ""


def test_a_store_out_of_reach_ends_it_after_a_while(
    world: World, server: Server, canary: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary.put("share")
    assert server.look()[0] == 4
    monkeypatch.setattr(world.store, "list", away)
    assert server.look()[0] == 4
    world.now_s += OUT_OF_REACH_S + 1
    assert server.look() == NOBODY
    monkeypatch.undo()
    assert server.look()[0] == 4


def away(*_: Any, **__: Any) -> Any:
    raise StorageError("list: no answer")


def planted(canary: Canary, number: int, **more: Any) -> None:
    """By somebody with a key of their own."""
    stranger = RecordStore(canary.world.store, MemoryKeys())
    made = canary.entry(number, "", "share", **more)
    canary.world.store.delete(canary_key("digits", number))
    stranger.create(canary_key("digits", number), canonical_json(made.model_dump(mode="json")))


def edited(canary: Canary) -> None:
    """The newest record, with a larger share."""
    store, key = canary.world.store, canary_key("digits", 1)
    store.put(key, store.get(key).replace(b'"share":0.25', b'"share":0.95'))


def replayed(canary: Canary) -> None:
    """The share of before its pull-back, under the next name."""
    canary.pull_back()
    canary.world.store.put(canary_key("digits", 4), canary.world.store.get(canary_key("digits", 1)))


def cut(canary: Canary) -> None:
    """The pull-back is removed."""
    ended = canary.pull_back()
    canary.world.store.delete(canary_key("digits", ended.number))


def covered(canary: Canary) -> None:
    """Something else lies where the pull-back was."""
    ended = canary.pull_back()
    canary.world.store.put(canary_key("digits", ended.number), b"{}")


def without_staging(canary: Canary) -> None:
    """A staging decision that nobody signed."""
    digest = "0" * 64
    canary.world.store.put(f"decisions/{digest}.json", b"{}")
    canary.put("share", staging=digest)


def staging_by_a_stranger(canary: Canary) -> None:
    """A decision that says all that is asked, by a key that is not ours."""
    world, ours = canary.world, canary.world.keys
    world.keys = MemoryKeys()
    digest = canary.staged()
    world.keys = ours
    canary.put("share", staging=digest)


def other_bytes(canary: Canary) -> None:
    """The program is not what was staged."""
    canary.put("share")
    canary.world.uploads.put("1/models/m-4/artifacts/data/model.pt2", b"something else")


FORGED: dict[str, tuple[Callable[[Canary], Any], str]] = {
    "planted": (lambda c: planted(c, 2), "not in the trusted list"),
    "planted later": (lambda c: planted(c, 99_999_999), "not in the trusted list"),
    "unsigned": (lambda c: c.world.store.put(canary_key("digits", 2), b"{}"), "is not signed"),
    "misnamed": (lambda c: c.world.store.put("canary/digits/00000002x.json", b"{}"), "is not the name of a record"),
    "edited": (edited, "does not fit"),
    "replayed": (replayed, "it was copied here"),
    "cut": (cut, "is gone or another"),
    "covered": (covered, "is not signed"),
    "of another head": (lambda c: c.put("share", head="0" * 64), ""),
    "of an older generation": (lambda c: c.put("share", generation=3), ""),
    "staging that was never signed": (without_staging, "other bytes|digest|is not a decision|expected"),
    "staging by a stranger": (staging_by_a_stranger, "not in the trusted list"),
    "staging of another gate": (lambda c: c.put("share", staging=c.staged(gate="champion")), "gate champion"),
    "staging against another champion": (lambda c: c.put("share", staging=c.staged(champion=1)), "champion_version 1"),
    "staging of other bytes": (lambda c: c.put("share", staging=c.staged(manifest="0" * 64)), "manifest 0000"),
    "another version": (lambda c: c.put("share", version=3), "version 4, expected 3"),
    "a record of another work": (lambda c: c.put("share", work_key=f"{3:064x}"), "work_key"),
    "no registration": (
        lambda c: (c.put("share"), c.world.store.delete(f"registrations/{4:064x}.json")),
        "has no registration",
    ),
    "other bytes": (other_bytes, "model.pt2"),
}


@pytest.mark.parametrize("what", FORGED)
def test_nothing_else_lets_a_server_load_a_version(server: Server, canary: Canary, what: str) -> None:
    first = canary.put("share")
    server.mark = (first.number, first.digest())
    forge, words = FORGED[what]
    forge(canary)
    if what == "cut":  # what was seen of it is kept outside the bucket
        server.mark = (3, "0" * 64)
    server.start()  # it has seen nothing itself
    assert server.look() == NOBODY
    assert re.search(words, server.slot.beside_error), server.slot.beside_error


def test_a_pull_back_that_was_seen_cannot_be_taken_away(server: Server, canary: Canary) -> None:
    """By this process, without a note outside the bucket."""
    canary.put("share")
    assert server.look()[0] == 4
    ended = canary.pull_back()
    assert server.look() == NOBODY
    canary.world.store.delete(canary_key("digits", ended.number))
    assert server.look() == NOBODY
    assert "is gone or another" in server.slot.beside_error


def test_what_was_planted_is_kept_aside_when_the_chain_goes_on(canary: Canary) -> None:
    canary.put("share")
    for number in (2, 7):
        canary.world.store.put(canary_key("digits", number), b"{}")
    assert canary.put("ended").number == 2
    newest = newest_canary(canary.store, "digits")
    assert newest is not None
    assert (newest.number, newest.phase) == (2, "ended")
    assert len(list(canary.world.store.list("aside/"))) == 2


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"expires_s": 1e12}, "expires later than maximum_hours"),
        ({"maximum_hours": 1000.0}, "less than or equal to 336"),
        ({"share": 0.0}, "a share of 0 in phase share"),
        ({"outcome": "pass"}, "outcome pass in phase share"),
        ({"decision": "d"}, "ended by a decision"),
    ],
)
def test_a_record_that_makes_no_sense_cannot_be_made(canary: Canary, more: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        canary.entry(1, "", "share", **more)


def test_an_entry_is_what_it_is_whoever_signs_it(canary: Canary) -> None:
    made = canary.put("share")
    again = newest_canary(canary.store, "digits")
    assert isinstance(again, CanaryEntry)
    assert again == made


def test_a_server_that_starts_in_the_middle_of_a_canary_takes_it_up_after_its_champion(
    server: Server, canary: Canary
) -> None:
    canary.put("share", share=0.25)
    server.start()
    beside = server.slot.beside
    assert beside is not None
    assert beside.predictor.version == 4


def test_each_entry_is_noticed_and_while_one_stands_nobody_can_hide_its_end(
    world: World, server: Server, canary: Canary
) -> None:
    notices = Notices()
    wants = server.follower._beside.wants_a_look_in  # type: ignore[union-attr]
    notices.moved(world.store.list(PREFIX))
    assert wants() is None
    canary.put("share")
    assert notices.moved(world.store.list(PREFIX)) == {"digits"}
    server.look()
    assert wants() == LOOK_S
    world.now_s = canary.began_s + 2 * HOUR - 1
    assert wants() == 1.0
    canary.pull_back()
    assert notices.moved(world.store.list(PREFIX)) == {"digits"}
    server.look()
    assert wants() is None
