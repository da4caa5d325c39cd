"""A finding, computed again from the log: does it say what the log says?"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

import pyarrow.compute as pc
from mlratchet.models.errors import ConfigurationError, SecurityError
from mlratchet.models.inference_log.reading import list_log, read_log
from mlratchet.models.inference_log.rewrites import read_rewrites
from mlratchet.models.monitoring.asking_again import forgiving, was_asked
from mlratchet.models.monitoring.collecting import LogSource, collect
from mlratchet.models.monitoring.finding import Finding
from mlratchet.models.monitoring.following import HISTORY
from mlratchet.models.monitoring.judging import ALARM_METHOD
from mlratchet.models.monitoring.look import Watched, WindowRows, measure_window
from mlratchet.models.monitoring.past import PastWindows
from mlratchet.models.monitoring.policy import load_policy
from mlratchet.models.monitoring.window import WindowRecord, erased_windows, load_window, window_numbers
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore, StorageError

Outcome = Literal["confirmed", "differs", "erased", "cannot"]
ASKED_AGAIN = ("inputs", "outputs")  # kinds of findings that say what the answers rest on
SHOWN = ("effect", "interval", "n", "severity", "words", "threshold")


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What came of it."""

    outcome: Outcome
    words: str


def verify_finding(
    finding: Finding, source: LogSource, store: ObjectStore, watched_of: Callable[[int, int, str], Watched]
) -> Verification:
    """Measure its window once more, from the log and from the record before it.

    Args:
        finding: As it verifies.
        source: The log.
        store: A `RecordStore`.
        watched_of: (version, generation, digest of the reference) -> what it was compared with.
    """
    told = _verified(finding, source, store, watched_of)
    rests_on = set(finding.evidence.values())
    if told.outcome in ("cannot", "differs") and rests_on & erased_windows(store, finding.pipeline):
        return Verification(outcome="erased", words="the record of a window that it rests on was erased on demand")
    return told


def _verified(
    finding: Finding, source: LogSource, store: ObjectStore, watched_of: Callable[[int, int, str], Watched]
) -> Verification:
    if finding.kind == "hardware" and finding.evidence.get("training"):
        return Verification(outcome="cannot", words="it rests on a training's own word, not on the log")
    try:
        missing = _missing_files(finding, source)
        if missing is not None:
            return missing
        config = load_policy(store, finding.policy)
        before = _record_before(finding, store)
        watched = watched_of(finding.version, finding.generation, finding.evidence.get("reference", ""))
        if not _was_asked(finding, before, store):
            watched = replace(watched, ask=None)
        elif finding.kind not in ASKED_AGAIN:
            watched = replace(watched, ask=forgiving(watched.ask))
        earlier = _earlier(store, before, finding) if before is not None else []
        edges = (finding.window.from_s, finding.window.to_s)
        rows = collect(source, watched, before, edges)
        again = measure_window(
            rows, watched, before, earlier, config, number=before.number + 1 if before is not None else 1,
            past=PastWindows(store, finding.pipeline).of(config.references, before, edges),
        )  # fmt: skip
    except (ObjectNotFound, ConfigurationError, SecurityError, StorageError) as error:
        return Verification(outcome="cannot", words=str(error))
    if finding.window.whole and again.record.problems:
        words = f"the log that it rests on was changed or cut since: {again.record.problems[0]}"
        return Verification(outcome="differs", words=words)
    told = _compared(finding, again.findings)
    if told.outcome == "differs":
        return _other_rows(finding, rows, again.record, source, store) or told
    return told


def _other_rows(
    finding: Finding, rows: WindowRows, again: WindowRecord, source: LogSource, store: ObjectStore
) -> Verification | None:
    """Why what it was measured on is not what is read now, where that is nobody's forgery."""
    on_labels = reads_labels(finding)
    if on_labels and (count := _labels_since(finding, source)):
        return Verification(
            outcome="cannot",
            words=f"labels of {count} of its rows were brought again, or for the first time, since its window ended: "
            "which of them stood then is not known any more",
        )
    then = _record_of(finding, again.number, store)
    if then is not None and then.labels_to_s != again.labels_to_s:
        words = "serving.labels.after_hours was another when it was made, and with it the rows whose label was due"
        return Verification(outcome="cannot", words=words) if on_labels or finding.severity == "alarm" else None
    labelled = {sha256 for name, sha256 in finding.evidence.items() if name.startswith("labels_")}
    gone = labelled - set(rows.label_files)
    if gone and (on_labels or finding.severity == "alarm"):  # an alarm is over all streams together
        rewrites = read_rewrites(source.store, source.keys.trusted(), source.pipeline, "answers")
        if any(rewrites.became(one) == "erased" for one in gone):
            return Verification(outcome="erased", words="rows whose label was due in its window were erased on demand")
        return Verification(
            outcome="cannot",
            words=f"{len(gone)} log files with rows whose label was due in its window are no longer in the log: "
            "removed when their time was over, compacted, or gone",
        )
    if late := set(rows.files) - set(finding.window.files):
        words = f"{len(late)} files of its window came into the log after it was measured: the log writer was away"
        return Verification(outcome="cannot", words=words)
    return None


def reads_labels(finding: Finding) -> bool:
    """Whether what it says hangs on labels."""
    return finding.kind == "quality" or (finding.kind, finding.subject) == ("outputs", "calibration")


def _labels_since(finding: Finding, source: LogSource) -> int:
    """Rows about which a finding may speak that have a brought label of after its window: each is as old as its object,
    which may have been uploaded again."""
    if (brought := source.brought()) is None:
        return 0
    window, due_s = finding.window, finding.window.to_s - source.after_s
    asked = read_log(
        source.store, source.keys, source.pipeline, version=finding.version, columns=("request_id",),
        since_s=due_s - 2 * (window.to_s - window.from_s), until_s=due_s,
    )  # fmt: skip
    later = brought.filter(pc.greater(brought["label_s"], window.to_s))["request_id"]
    return int(pc.sum(pc.is_in(asked.table["request_id"], later)).as_py() or 0)


def _was_asked(finding: Finding, before: WindowRecord | None, store: ObjectStore) -> bool:
    """Whether programs were asked about its window, as its record says; True where that is gone."""
    record = _record_of(finding, before.number + 1 if before is not None else 1, store)
    return record is None or was_asked(record.figures)


def _record_of(finding: Finding, number: int, store: ObjectStore) -> WindowRecord | None:
    """Of its window; None where that is gone or of another one."""
    with suppress(ObjectNotFound, SecurityError):
        record = load_window(store, finding.pipeline, number)
        return record if record.window == finding.window else None
    return None


def _missing_files(finding: Finding, source: LogSource) -> Verification | None:
    window = finding.window
    listing = list_log(source.store, source.keys, source.pipeline, since_s=window.from_s, until_s=window.to_s)
    gone = set(window.files) - {one.sha256 for one in listing.files}
    if not gone:
        return None
    if listing.erased:
        return Verification(
            outcome="erased",
            words=f"{listing.erased} rows of its window were erased on demand; the rest is another set of rows",
        )
    return Verification(
        outcome="cannot",
        words=f"{len(gone)} of the {len(window.files)} log files that it rests on are no longer in the log: removed "
        "when their time was over, compacted, or gone",
    )


def _record_before(finding: Finding, store: ObjectStore) -> WindowRecord | None:
    """By the digest that the finding names. Raises ``ObjectNotFound`` where it is gone."""
    wanted = finding.evidence.get("window_before", "")
    if not wanted:
        return None
    for number in reversed(window_numbers(store, finding.pipeline)):
        try:
            record = load_window(store, finding.pipeline, number)
        except (ObjectNotFound, SecurityError):
            continue
        if record.digest() == wanted:
            return record
    raise ObjectNotFound(f"the window record {wanted[:12]} that it goes on from is gone")


def _earlier(store: ObjectStore, before: WindowRecord, finding: Finding) -> list[WindowRecord]:
    found: list[WindowRecord] = []
    for number in (one for one in reversed(window_numbers(store, finding.pipeline)) if one <= before.number):
        if len(found) >= HISTORY:
            break
        with suppress(ObjectNotFound, SecurityError):  # as a look goes on
            found.append(load_window(store, finding.pipeline, number))
    return [one for one in reversed(found) if one.version == finding.version]


def _compared(finding: Finding, again: tuple[Finding, ...]) -> Verification:
    if any(one.id == finding.id for one in again):
        return Verification(outcome="confirmed", words="the log says the same, to the last digit")
    same = [one for one in again if (one.kind, one.subject) == (finding.kind, finding.subject)]
    sounds = [one.severity for one in same]
    if finding.severity == "alarm" and not finding.method.startswith(ALARM_METHOD):
        return Verification(outcome="cannot", words=f"this release raises alarms by another method: {ALARM_METHOD}")
    if finding.severity == "warning" and sounds == ["alarm"]:
        return Verification(outcome="cannot", words="this release raises an alarm where another one warned")
    if not same:
        return Verification(outcome="differs", words="computed again from the log, nothing of the kind is found")
    differs = [name for name in SHOWN if getattr(same[0], name) != getattr(finding, name)]
    told = "; ".join(f"{name}: {getattr(finding, name)!r}, now {getattr(same[0], name)!r}" for name in differs)
    return Verification(outcome="differs", words=told or "the evidence that it names is another")
