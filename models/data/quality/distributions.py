"""How the values of every field are distributed: a profile that a dataset keeps, and how far a delivery is from it.

Shape legend: N records of the sample, B bins.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from mlratchet.models.data.quality.measure import Measure
from mlratchet.models.data.quality.sample import FieldValues, Sample
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.identity.stored import store_once, stored_document
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore

LEAST_ROWS = 100  # given values on each side: below, chance alone looks like a drift
QUANTILES = 101
MOST_VALUES = 1_000  # of words; a field with more is one of names, whose values say nothing
BINS = 20  # fewer where there are few rows
SHOWN = 5
NEW = 3  # new values that are named
Array = np.ndarray[Any, Any]


def profile_of(sample: Sample) -> dict[str, Any]:
    """What is kept of a delivery, as JSON values: some KB."""
    return {"format": 1, "n": len(sample), "of": sample.of, "fields": {f.name: _profile(f) for f in sample.fields}}


def _profile(one: FieldValues) -> dict[str, Any]:
    given = one.given
    about: dict[str, Any] = {"kind": one.kind, "n": len(given), "given": int(given.sum())}
    if one.kind in ("number", "time"):
        return about | {"quantiles": _quantiles(one.values[given])}
    if one.kind == "word":
        counts = Counter(one.values[given].tolist())
        return about | ({"counts": dict(sorted(counts.items()))} if len(counts) <= MOST_VALUES else {})
    letters = Counter("".join(one.values[given].tolist()).casefold())
    return about | {
        "quantiles": _quantiles(one.lengths[given]),  # of lengths
        "counts": dict(sorted(letters.most_common(MOST_VALUES))),
    }


def _quantiles(values: Array) -> list[float]:
    return [float(one) for one in np.quantile(values, np.linspace(0, 1, QUANTILES))] if len(values) else []


def publish_profile(store: ObjectStore, dataset_id: str, profile: Mapping[str, Any]) -> str:
    """As `profiles/<sha256>.json`, which `readings/<dataset id>-profile.json` leads to. Returns its digest."""
    data = canonical_json(dict(profile))
    found = digest_bytes(data)
    store_once(store, f"profiles/{found}.json", data)
    store.put(f"readings/{dataset_id}-profile.json", canonical_json({"profile": found}))
    return found


def profile_of_dataset(store: ObjectStore, dataset_id: str) -> dict[str, Any] | None:
    """None where there is none: it was made before there were any. Raises ``SecurityError`` for what is no profile."""
    try:
        digest = stored_document(store, f"readings/{dataset_id}-profile.json", "profile")["profile"]
        key = f"profiles/{digest}.json"
        found = json.loads(store.get(key, sha256=digest))
    except ObjectNotFound:
        return None
    if not isinstance(found, dict) or not isinstance(found.get("fields"), dict):
        raise SecurityError(f"{store.bucket}/{key}: is no profile of a dataset; it was changed")
    return found


@dataclass(frozen=True, kw_only=True)
class Drift:
    """Of one field."""

    name: str
    kind: str
    size: float  # Jensen-Shannon distance (0..1), without what chance alone makes of as many rows
    n: int  # given values now
    psi: float | None = None  # of numbers: population stability index
    wasserstein: float | None = None  # of numbers, in spreads (the middle half) of the reference
    missing: float = 0.0  # change of the share that is not given
    new: tuple[str, ...] = ()  # values that the reference does not have
    new_share: float = 0.0  # of the given values

    def words(self) -> str:
        """``price 0.31 (PSI 0.8, Wasserstein 0.4)``."""
        parts = [f"PSI {self.psi:.2f}", f"Wasserstein {self.wasserstein:.2f}"] if self.psi is not None else []
        parts += [f"new: {', '.join(self.new)}"] if self.new else []
        parts += [f"{self.missing:+.1%} not given"] if abs(self.missing) >= 0.01 else []
        return f"{self.name} {self.size:.3f}" + (f" ({'; '.join(parts)})" if parts else "")


def drifts(now: Mapping[str, Any], then: Mapping[str, Any]) -> list[Drift]:
    """Of every field that both have with enough rows, the largest first; times move by themselves and are left out."""
    found = []
    for name, ours in now["fields"].items():
        theirs = then["fields"].get(name)
        if theirs is None or theirs["kind"] != ours["kind"] or ours["kind"] == "time":
            continue
        if min(ours["given"], theirs["given"]) >= LEAST_ROWS:
            found.append(_drift(name, ours, theirs))
    return sorted(found, key=lambda one: (-one.size, one.name))


def _drift(name: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Drift:
    n, m = ours["given"], theirs["given"]
    about: dict[str, Any] = {
        "name": name, "kind": ours["kind"], "n": n,
        "missing": (1 - n / ours["n"]) - (1 - m / theirs["n"]),
    }  # fmt: skip
    sizes = [_distance(np.asarray([n, ours["n"] - n]), np.asarray([m, theirs["n"] - m]))]
    if ours.get("quantiles") and theirs.get("quantiles"):
        p, q = _binned(ours["quantiles"], theirs["quantiles"], min(n, m))
        sizes.append(_distance(p * n, q * m))
        if ours["kind"] == "number":
            about |= {"psi": _psi(p, q), "wasserstein": _wasserstein(ours["quantiles"], theirs["quantiles"])}
    if "counts" in ours and "counts" in theirs:
        names = sorted({*ours["counts"], *theirs["counts"]})
        counts = [
            np.asarray([one["counts"].get(name, 0) for name in names], dtype=np.float64) for one in (ours, theirs)
        ]
        if ours["kind"] == "word":
            new = sorted(set(ours["counts"]) - set(theirs["counts"]), key=lambda one: (-ours["counts"][one], one))
            about |= {"new": tuple(new[:NEW]), "new_share": sum(ours["counts"][one] for one in new) / n}
            sizes.append(_distance(*counts))
        else:  # letters of one text are no independent draws: as many as there are texts
            sizes.append(_distance(*(one / one.sum() * given for one, given in zip(counts, (n, m), strict=True))))
    return Drift(size=max(sizes), **about)


def _binned(ours: list[float], theirs: list[float], rows: int) -> tuple[Array, Array]:
    """Shares (B,) of both in bins of about equal shares of the reference."""
    bins = int(min(BINS, max(2, rows // 25)))
    edges = np.unique(np.quantile(theirs, np.linspace(0, 1, bins + 1)[1:-1]))
    shares = []
    for quantiles in (ours, theirs):
        values = np.interp(np.linspace(0, 1, 2001), np.linspace(0, 1, QUANTILES), quantiles)
        shares.append(np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1) / len(values))
    return shares[0], shares[1]


def _distance(ours: Array, theirs: Array) -> float:
    """Jensen-Shannon distance of two counts, in bits; its expectation under equal distributions is taken off."""
    n, m = float(ours.sum()), float(theirs.sum())
    if not n or not m:
        return 0.0
    p, q = ours / n, theirs / m
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.where(one > 0, one * np.log2(one / middle), 0.0).sum() for one in (p, q)]
    chance = (int((middle > 0).sum()) - 1) * (1 / n + 1 / m) / (8 * np.log(2))
    return float(np.sqrt(max(0.0, sum(parts) / 2 - chance)))


def _psi(p: Array, q: Array) -> float:
    p, q = np.maximum(p, 1e-4), np.maximum(q, 1e-4)
    return float(((p - q) * np.log(p / q)).sum())


def _wasserstein(ours: list[float], theirs: list[float]) -> float:
    """Mean distance of the quantiles."""
    a, b = np.asarray(ours), np.asarray(theirs)
    spread = float(b[75] - b[25]) or float(b[-1] - b[0]) or 1.0
    return float(np.abs(a - b).mean() / spread)


def measures(found: list[Drift] | None) -> dict[str, Measure]:
    """None: there is no reference."""
    if found is None:
        nothing = "the champion's dataset has no profile: it was made before there were any, or there is no champion"
        return {name: Measure(value=0.0, n=0, detail=nothing) for name in ("field_drift", "new_category_fraction")}
    if not found:
        few = f"no field is in both deliveries with {LEAST_ROWS} values or more"
        return {name: Measure(value=0.0, n=0, detail=few) for name in ("field_drift", "new_category_fraction")}
    words = [one for one in found if one.kind == "word"]
    newest = max(words, key=lambda one: one.new_share, default=None)
    told = f"{newest.name}: {', '.join(newest.new)}" if newest is not None and newest.new else ""
    return {
        "field_drift": Measure(
            value=found[0].size, n=found[0].n, detail=", ".join(one.words() for one in found[:SHOWN])
        ),
        "new_category_fraction": Measure(
            value=newest.new_share if newest else 0.0, n=newest.n if newest else 0, detail=told
        ),
    }
