"""A window that was erased with a person: monitoring goes on after it, and an audit says erased, not removed."""

from __future__ import annotations

import pytest
from mlratchet.models.audit.beside import beside
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.identity.erasures import ErasedObject, publish_erasure, said_by
from mlratchet.models.monitoring.finding import findings_of
from mlratchet.models.monitoring.verifying import verify_finding
from mlratchet.models.monitoring.window import erased_windows, gaps_in, newest_window, window_key, windows_of

from tests.unit.monitoring.site import Site, Traffic

pytestmark = pytest.mark.usefixtures("few_resamples")

QUIET = [Traffic(minute) for minute in range(4)]


def erase(site: Site, *numbers: int) -> None:
    """As `ratchet forget` does: the signed record, then the objects."""
    keys = [window_key("shop", number) for number in numbers]
    gone = [(key, site.raw.get(key)) for key in keys]
    publish_erasure(
        site.store, "shop", versions=[], actor="ada", at_s=1.0,
        objects=[
            ErasedObject(bucket=site.raw.bucket, key=key, before=digest_bytes(data), said=said_by(key, data))
            for key, data in gone
        ],
    )  # fmt: skip
    for key in keys:
        site.raw.delete(key)


def watched() -> Site:
    site = Site()
    site.serve(*QUIET)
    assert len(site.look()) == len(QUIET)
    return site


def problems_of(site: Site) -> list[str]:
    return [line for line in beside(site.raw, site.log.keys.trusted(), "shop", {})[0] if "window" in line]


def test_monitoring_goes_on_after_windows_that_were_erased_in_the_middle() -> None:
    site = watched()
    before = newest_window(site.store, "shop")
    erase(site, 2, 3)
    assert newest_window(site.store, "shop") == before
    site.serve(Traffic(4))
    assert [one.record.number for one in site.look()] == [5]
    held = windows_of(site.store, "shop")
    assert [one.number for one in held] == [1, 4, 5]
    assert gaps_in(held, erased_windows(site.store, "shop")) == ()
    assert problems_of(site) == []


def test_a_window_that_somebody_removed_is_a_gap_and_told_by_an_audit_also_beside_one_that_was_erased() -> None:
    site = watched()
    erase(site, 3)
    site.raw.delete(window_key("shop", 2))
    assert newest_window(site.store, "shop") == windows_of(site.store, "shop")[-1], (
        "window 4 follows one that was erased"
    )
    assert "windows 2 to 3 are missing" in problems_of(site)[0]
    other = watched()
    other.raw.delete(window_key("shop", 2))
    assert "window 2 is missing" in problems_of(other)[0]
    other.raw.delete(window_key("shop", 1))
    assert "windows 1 to 2 are missing" in problems_of(other)[0]


def test_another_window_that_was_made_under_the_name_of_an_erased_one_is_missed_when_it_goes() -> None:
    site = watched()
    erase(site, 4)
    site.serve(Traffic(4))
    site.config = site.config.model_copy(update={"minimum_effect": 0.2})  # the window is recorded otherwise
    assert [one.record.number for one in site.look()][:1] == [4]
    site.raw.delete(window_key("shop", 4))
    held = windows_of(site.store, "shop")
    assert gaps_in(held, erased_windows(site.store, "shop")) == ("windows 4 to 4 are missing",)


def test_a_finding_that_goes_on_from_an_erased_window_is_verified_as_erased() -> None:
    site = Site()
    site.serve(*QUIET[:2], Traffic(2, shift=6.0))
    site.look()
    (finding, *_) = findings_of(site.store, "shop")
    erase(site, 2)
    told = verify_finding(finding, site.source, site.store, site.watched)
    assert told.outcome == "erased", told.words
