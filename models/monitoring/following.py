"""Follow the log: every window that ended since the last look, measured, judged and published, once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from mlratchet.models.errors import SecurityError
from mlratchet.models.monitoring.asking_again import forgiving
from mlratchet.models.monitoring.collecting import DueWindow, LogSource, collect, due
from mlratchet.models.monitoring.config import MonitoringConfig
from mlratchet.models.monitoring.finding import publish_finding
from mlratchet.models.monitoring.look import Measured, Watched, measure_window
from mlratchet.models.monitoring.past import PastWindows
from mlratchet.models.monitoring.policy import publish_policy
from mlratchet.models.monitoring.window import (
    WindowRecord,
    load_window,
    newest_window,
    publish_window,
    window_key,
    windows_of,
)
from mlratchet.models.ports.storage import ObjectExists, ObjectStore

logger = logging.getLogger(__name__)

HISTORY = 60  # records before a window that say what is usual
WatchedOf = Callable[[int, int], Watched]  # (version, generation) -> what it is compared with


def look(
    source: LogSource, store: ObjectStore, config: MonitoringConfig, watched_of: WatchedOf, *, promoted_s: float,
    now_s: float, late_s: float, most: int | None = None,
) -> list[Measured]:  # fmt: skip
    """Take up what is new.

    Args:
        source: The log.
        store: A `RecordStore`: findings and windows are signed as they are written, and believed if they are signed.
        config: The policy.
        watched_of: The reference of a version; asked once per version and window.
        promoted_s: When the first version of the pipeline was promoted.
        now_s: Seconds since the epoch.
        late_s: Seconds after which nothing more is expected of a log writer that says nothing.
        most: Windows of this look; what is left is for the next one.

    Idempotent: two looks at once, or a look that was killed, end in the same records.
    """
    before = newest_window(store, source.pipeline)
    windows = due(source, before, config, promoted_s=promoted_s, now_s=now_s, late_s=late_s)
    if not windows:
        return []
    publish_policy(store, config)
    earlier = list(windows_of(store, source.pipeline, most=HISTORY)) if before is not None else []
    past = PastWindows(store, source.pipeline)
    made: list[Measured] = []
    for one in windows[:most]:
        watched = _watched(one, before, watched_of)
        if watched is None:
            continue  # nobody answered yet, and no label is due of anybody
        measured = measure_window(
            collect(source, watched, before, one.edges), watched, before, _usual(earlier, watched), config,
            number=before.number + 1 if before is not None else 1,
            past=past.of(config.references, before, one.edges),
        )  # fmt: skip
        before = _publish(store, measured)
        earlier.append(before)
        past.add(before)
        made.append(measured)
    return made


def _watched(one: DueWindow, before: WindowRecord | None, watched_of: WatchedOf) -> Watched | None:
    if one.version is not None and one.generation is not None:
        found = watched_of(one.version, one.generation)
    elif before is not None:
        found = watched_of(before.version, before.generation)
    else:
        return None
    return replace(found, ask=forgiving(found.ask))  # a look goes on without; the next has the same windows


def _usual(earlier: list[WindowRecord], watched: Watched) -> list[WindowRecord]:
    """Of the newest records, as a look that begins with this window reads them."""
    return [one for one in earlier[-HISTORY:] if one.version == watched.version]


def _publish(store: ObjectStore, measured: Measured) -> WindowRecord:
    """Findings first: a record that names them makes them known. Where another record of ours has the number, made
    under another policy or by a release before, it stands."""
    for finding in measured.findings:
        publish_finding(store, finding)
    record = measured.record
    try:
        publish_window(store, record)
    except ObjectExists:
        held = load_window(store, record.pipeline, record.number)
        if held.before != record.before or held.window.from_s != record.window.from_s:
            raise SecurityError(
                f"{store.bucket}/{window_key(record.pipeline, record.number)}: another record of ours stands there and "
                "does not follow the one before it; `ratchet audit` says what was changed"
            ) from None
        logger.warning("window %d of %s was recorded otherwise; the record stands", record.number, record.pipeline)
        return held
    return record
