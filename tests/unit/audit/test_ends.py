"""A chain whose end was cut after a clean audit: the next one says so; what was erased or rewritten is no cut."""

from __future__ import annotations

import json

from mlratchet.models.audit.ends import chain_ends, cut_ends
from mlratchet.models.gates.holdout import record_use
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.identity.erasures import ErasedObject, publish_erasure, said_by
from mlratchet.models.inference_log.rewriting import Rewriter

from tests.unit.monitoring.site import MINUTE, Site, Traffic


def watched() -> tuple[Site, dict[str, str]]:
    """A pipeline with windows, wear, an erasure and a log, and where their chains end."""
    site = Site()
    site.serve(*[Traffic(minute, rows=120) for minute in range(3)])
    site.look()
    record_use(site.store, "shop", "a" * 64, ["1", "2"])
    record_use(site.store, "shop", "b" * 64, ["1", "2"])
    publish_erasure(site.store, "shop", objects=[], versions=[], actor="ada", at_s=1.0)
    return site, chain_ends(site.raw, site.log.keys.trusted(), "shop")


def problems(site: Site, ends: dict[str, str]) -> list[str]:
    return cut_ends(site.raw, site.log.keys.trusted(), "shop", ends)


def test_every_record_that_was_the_newest_of_its_chain_is_missed_when_it_goes() -> None:
    site, ends = watched()
    assert sorted(key.split("/")[0] for key in ends) == ["erasures", "holdout", "log", "log", "windows"]
    assert problems(site, ends) == []
    for key in ends:
        held = site.raw.get(key)
        site.raw.delete(key)
        assert [line for line in problems(site, ends) if f"{key}: is gone" in line], key
        site.raw.put(key, json.dumps({**json.loads(held), "more": 1}).encode())
        assert [line for line in problems(site, ends) if f"{key}: says something else" in line], key
        site.raw.put(key, held)
    site.serve(Traffic(3, rows=120))
    site.look()
    assert problems(site, ends) == [], "what came since is no cut"


def test_what_was_erased_or_rewritten_since_is_no_cut() -> None:
    site, ends = watched()
    window = next(key for key in ends if key.startswith("windows/"))
    said = said_by(window, data := site.raw.get(window))
    gone = ErasedObject(bucket=site.raw.bucket, key=window, before=digest_bytes(data), said=said)
    publish_erasure(site.store, "shop", objects=[gone], versions=[], actor="ada", at_s=2.0)
    site.raw.delete(window)
    site.serve(Traffic(2000, rows=120))
    for holds in ("answers", "feedback"):
        rewriter = Rewriter(site.raw, site.log.keys, "shop", holds, now_s=site.now_s + 2 * 86_400)  # type: ignore[arg-type]
        rewriter.expire(site.now_s - 600 * MINUTE)
    assert not site.raw.exists(next(key for key in ends if "/answers" not in key and key.startswith("log/shop/chain")))
    assert problems(site, ends) == []
