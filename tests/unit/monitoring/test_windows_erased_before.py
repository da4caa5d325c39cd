"""Records of erasures that the release before wrote, which named places alone, are read, followed and believed."""

from __future__ import annotations

import pytest
from mlratchet.models.audit.ends import chain_ends, cut_ends
from mlratchet.models.erasure.parts import KnownBefore
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.identity.erasures import ErasedObject, erased_objects, erasures_of, publish_erasure
from mlratchet.models.monitoring.window import erased_windows, gaps_in, newest_window, window_key, windows_of
from mlratchet.tasks.actions.forget import known_of

from tests.unit.monitoring.site import Site, Traffic
from tests.unit.monitoring.test_erased_window import problems_of, watched

pytestmark = pytest.mark.usefixtures("few_resamples")

WAITS = f"store/raw/{'a' * 64}"


def erase_as_before(site: Site, *numbers: int, waiting: tuple[str, ...] = ()) -> None:
    keys = [window_key("shop", number) for number in numbers]
    objects = [
        {"bucket": site.raw.bucket, "key": key, "before": digest_bytes(site.raw.get(key)), "after": ""} for key in keys
    ]
    said = {
        "name": "shop", "number": 1, "previous": "", "at_s": 1.0, "actor": "ada", "objects": objects, "versions": [3],
        "waiting": waiting,
    }  # fmt: skip
    site.store.create("erasures/shop/00000001.json", canonical_json(said))
    for key in keys:
        site.raw.delete(key)


def test_a_record_that_names_what_waits_by_its_place_is_read_and_the_next_follows_it() -> None:
    site = Site()
    erase_as_before(site, waiting=(WAITS,))
    waits = ErasedObject(bucket="store", key="rows/x", before="b" * 64)
    publish_erasure(site.store, "shop", objects=[], versions=[], waiting=[waits], actor="ada", at_s=2.0)
    first, second = erasures_of(site.store, "shop")
    assert (first.waiting, second.waiting) == ((WAITS,), (waits,))
    assert second.previous == first.digest()
    assert erased_objects(site.store) == {}


def test_what_waited_goes_by_its_place_whatever_lies_there_and_another_by_its_bytes() -> None:
    site = Site()
    erase_as_before(site, waiting=(WAITS,))
    waits = ErasedObject(bucket="store", key="rows/x", before="b" * 64)
    publish_erasure(site.store, "shop", objects=[], versions=[], waiting=[waits], actor="ada", at_s=2.0)
    known = known_of("shop", erasures_of(site.store, "shop"))
    assert isinstance(known, KnownBefore)
    assert known.is_pending(WAITS, "c" * 64)
    assert known.is_pending("store/rows/x", "b" * 64)
    assert not known.is_pending("store/rows/x", "c" * 64)
    assert not known.is_pending("store/rows/y", "b" * 64)


def test_windows_that_were_erased_then_are_erased_and_not_removed_and_monitoring_goes_on_after_them() -> None:
    site = watched()
    before = newest_window(site.store, "shop")
    erase_as_before(site, 2, 3)
    assert newest_window(site.store, "shop") == before
    assert problems_of(site) == []
    site.serve(Traffic(4))
    assert [one.record.number for one in site.look()] == [5]
    assert problems_of(site) == []
    held = windows_of(site.store, "shop")
    assert gaps_in(held, erased_windows(site.store, "shop")) == ()
    site.raw.delete(window_key("shop", 1))
    assert "windows 1 to 3 are missing" in problems_of(site)[0], "the first was not erased"


def test_a_window_that_was_the_newest_at_an_audit_and_was_erased_then_is_not_missed() -> None:
    site = watched()
    trusted = site.log.keys.trusted()
    newest = {key: said for key, said in chain_ends(site.raw, trusted, "shop").items() if key.startswith("windows/")}
    assert list(newest) == [window_key("shop", 4)]
    erase_as_before(site, 4)
    assert cut_ends(site.raw, trusted, "shop", newest) == []
    site.raw.put(window_key("shop", 4), b'{"planted":1}')
    assert len(cut_ends(site.raw, trusted, "shop", newest)) == 1
