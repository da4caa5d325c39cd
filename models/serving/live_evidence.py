"""Live evidence of a canary, counted over verified rows of the inference log by variant."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlratchet.models.gates.checks.live import LiveCheck
from mlratchet.models.gates.checks.live_disagreement import LiveDisagreementCheck
from mlratchet.models.gates.checks.live_latency import LiveLatencyCheck
from mlratchet.models.gates.checks.live_quality import LiveQualityCheck
from mlratchet.models.gates.live import LiveEvidence, Tally, number_key
from mlratchet.models.promotion.canary.entry import CanaryEntry
from mlratchet.models.serving.live_answers import apart, is_right

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = (
    "request_id", "row", "received_s", "latency_ms", "version", "generation", "variant", "status", "replayed", "answer",
)  # fmt: skip
NOBODYS = frozenset((408, 413, 429, 499, 503))
"""Status of what no version is asked or can help: a client that is slow, too large or gone, a server that is full."""


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What the live checks of a policy need counted."""

    milliseconds: tuple[float, ...] = ()
    tolerances: tuple[float, ...] = ()  # between two answers
    label_tolerances: tuple[float, ...] = ()  # between an answer and its label

    @classmethod
    def of(cls, checks: Iterable[LiveCheck]) -> Counted:
        """Each once."""
        held = list(checks)
        return cls(
            milliseconds=_each(one.maximum_milliseconds for one in held if isinstance(one, LiveLatencyCheck)),
            tolerances=_each(one.tolerance for one in held if isinstance(one, LiveDisagreementCheck)),
            label_tolerances=_each(one.tolerance for one in held if isinstance(one, LiveQualityCheck)),
        )


def _each(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(sorted(set(values)))


def live_evidence(
    rows: pa.Table,
    labels: pa.Table | None,
    counted: Counted,
    entry: CanaryEntry,
    *,
    champion_version: int,
    minimum_requests: int,
    until_s: float,
    files: Sequence[str] = (),
    dropped: int = 0,
    broken: str = "",
    stopped: str = "",
) -> LiveEvidence:
    """Counts of what was seen since the canary began.

    Args:
        rows: Of the log, with `COLUMNS`; those of other times, versions and generations are left out.
        labels: `request_id`, `row` and `label` (text or null) of labelled rows; None where none are asked for.
        counted: What the policy's checks need.
        entry: The newest of the canary.
        champion_version: Of the ledger entry that it was made under.
        minimum_requests: As the file declares.
        until_s: Up to when the log is complete, seconds since the epoch.
        files: SHA-256 hex of the log files.
        dropped: Answers that the log counted and did not keep.
        broken: Why the log is no evidence.
        stopped: Who ended the canary, and why.
    """
    one = _requests(rows, entry, until_s)
    champion = _of(one, "champion", champion_version)
    canary = _of(one, "canary", entry.version)
    shadow = _of(one, "shadow", entry.version)
    named = _labels_of(labels)
    live, champion_live = _sent(canary), _sent(champion)
    return LiveEvidence(
        version=entry.version,
        champion_version=champion_version,
        began_s=entry.began_s,
        until_s=until_s,
        requests=_failed(live).n,
        minimum_requests=minimum_requests,
        sent=live.num_rows + champion_live.num_rows,
        shadowed=shadow.num_rows,
        replayed=canary.num_rows - live.num_rows + shadow.num_rows - _sent(shadow).num_rows,
        dropped=dropped,
        failed=_failed(canary),
        champion_failed=_failed(champion),
        shadow_failed=_failed(shadow),
        slow={number_key(limit): _slow(canary, limit) for limit in counted.milliseconds},
        differs={number_key(most): _differs(shadow, champion, most) for most in counted.tolerances},
        right={number_key(most): _right(live, named, most) for most in counted.label_tolerances},
        champion_right={number_key(most): _right(champion_live, named, most) for most in counted.label_tolerances},
        files=tuple(files),
        broken=broken,
        stopped=stopped,
    )


def _requests(rows: pa.Table, entry: CanaryEntry, until_s: float) -> pa.Table:
    """One row per request of the time and the generation."""
    import pyarrow.compute as pc

    within = pc.and_(pc.greater_equal(rows["received_s"], entry.began_s), pc.less(rows["received_s"], until_s))
    ours = pc.and_(pc.equal(rows["row"], 0), pc.equal(rows["generation"], entry.generation))
    return rows.select(list(COLUMNS)).filter(pc.and_(within, ours))


def _of(requests: pa.Table, variant: str, version: int) -> pa.Table:
    import pyarrow.compute as pc

    return requests.filter(pc.and_(pc.equal(requests["variant"], variant), pc.equal(requests["version"], version)))


def _sent(requests: pa.Table) -> pa.Table:
    """By clients."""
    import pyarrow.compute as pc

    return requests.filter(pc.invert(requests["replayed"]))


def _failed(requests: pa.Table) -> Tally:
    statuses: Mapping[int, int] = Counter(requests["status"].to_pylist())
    n = sum(count for status, count in statuses.items() if status not in NOBODYS)
    return Tally(yes=n - statuses.get(200, 0), n=n)


def _slow(requests: pa.Table, limit_ms: float) -> Tally:
    import pyarrow.compute as pc

    times = _answered(requests)["latency_ms"]
    return Tally(yes=int(pc.sum(pc.greater(times, limit_ms)).as_py() or 0), n=len(times))


def _answered(requests: pa.Table) -> pa.Table:
    import pyarrow.compute as pc

    return requests.filter(pc.and_(pc.equal(requests["status"], 200), pc.is_valid(requests["answer"])))


def _differs(shadow: pa.Table, champion: pa.Table, tolerance: float) -> Tally:
    ours, theirs = (_answered(one).select(["request_id", "answer"]) for one in (shadow, champion))
    pairs = ours.join(theirs, "request_id", right_suffix="_champion", join_type="inner")
    found = [
        apart(json.loads(answer), json.loads(other))
        for answer, other in zip(pairs["answer"].to_pylist(), pairs["answer_champion"].to_pylist(), strict=True)
    ]
    return Tally(yes=sum(distance > tolerance for distance in found), n=len(found))


def _labels_of(labels: pa.Table | None) -> pa.Table | None:
    """Of the first row of each request."""
    import pyarrow.compute as pc

    if labels is None:
        return None
    first = labels.filter(pc.and_(pc.equal(labels["row"], 0), pc.is_valid(labels["label"])))
    return first.select(["request_id", "label"])


def _right(requests: pa.Table, labels: pa.Table | None, tolerance: float) -> Tally:
    if labels is None:
        return Tally()
    pairs = _answered(requests).select(["request_id", "answer"]).join(labels, "request_id", join_type="inner")
    told = [
        is_right(json.loads(answer), label, tolerance)
        for answer, label in zip(pairs["answer"].to_pylist(), pairs["label"].to_pylist(), strict=True)
    ]
    return Tally(yes=sum(found is True for found in told), n=sum(found is not None for found in told))
