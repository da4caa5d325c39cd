"""Ask for labels: draw answers of the log, sign which were drawn, and lay out what people fill in."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.identity.stored import store_once
from mlratchet.models.inference_log.labels import LabelRequest, read_label_requests
from mlratchet.models.inference_log.reading import read_log
from mlratchet.models.monitoring.collecting import LogSource
from mlratchet.models.monitoring.config import MonitoringConfig
from mlratchet.models.monitoring.finding import Finding
from mlratchet.models.monitoring.labelling import WANTED, free_stretch, request_for_labels, sheet, withheld
from mlratchet.models.ports.storage import ObjectStore

logger = logging.getLogger(__name__)
STARTS = ("estimated_accuracy", "calibration")  # subjects of findings that doubt what nobody has labels for


@dataclass(frozen=True, kw_only=True)
class LabelsAsked:
    """A request that was published."""

    request: LabelRequest
    sheet_key: str
    """Of the CSV, in the store bucket."""
    sheet: bytes
    answers: int
    """That could be drawn."""

    @property
    def words(self) -> str:
        """For a person."""
        return f"{len(self.request.rows)} of {self.answers} answers are to be labelled: {self.sheet_key}"


def ask_labels(
    source: LogSource, store: ObjectStore, *, version: int, rows: int, now_s: float, since_s: float, until_s: float,
    finding: str = "",
) -> LabelsAsked:  # fmt: skip
    """Draw about so many of a version's answers to clients in a stretch, and publish the request and the sheet.

    Args:
        source: The log.
        store: A `RecordStore`, which signs the request.
        version: Whose answers.
        rows: About so many.
        now_s: Seconds since the epoch.
        since_s: Nothing is drawn of before; nor what was asked about already, or has less than half of the time
            for a label left: people have to answer within it.
        until_s: Nor of then and after; nor what the log may still get.
        finding: What started it.

    Raises ``ConfigurationError`` where nothing can be drawn, or the log of the stretch is not whole.
    """
    requests, _ = read_label_requests(store, source.keys, source.pipeline)
    stretch = free_stretch(requests, version, max(since_s, now_s - source.after_s / 2), until_s)
    read = read_log(source.store, source.keys, source.pipeline, version=version, since_s=stretch[0], until_s=stretch[1])
    if not read.whole:
        raise ConfigurationError(
            f"{source.pipeline}: the log is not whole, and no row speaks for it: {read.problems[0]}"
        )
    answers = _to_clients(read.table)
    request = request_for_labels(
        answers, pipeline=source.pipeline, version=version, rows=rows, stretch_s=stretch, at_s=now_s, finding=finding
    )
    body = sheet(request, answers, source.labels)
    key = f"{WANTED}{source.pipeline}/{digest_bytes(body)}.csv"
    store_once(store, key, body)  # before the request: who reads of it finds the sheet
    store.create(request.key(), request.body())
    return LabelsAsked(request=request, sheet_key=key, sheet=body, answers=answers.num_rows)


def _to_clients(table: pa.Table) -> pa.Table:
    chosen = pc.and_(pc.equal(table["variant"], "champion"), pc.invert(table["replayed"]))
    return table.filter(pc.and_(chosen, pc.equal(table["status"], 200)))


def ask_where_in_doubt(
    source: LogSource, store: ObjectStore, config: MonitoringConfig, findings: Iterable[Finding],
    *, now_s: float,
) -> list[str]:  # fmt: skip
    """A request for the newest finding that doubts the answers, once, where the policy has requests by itself; what was
    done, one line each. Nothing of it fails a look."""
    doubts = [one for one in findings if one.kind in ("quality", "outputs") and one.subject in STARTS]
    if config.labelling is None or not doubts:
        return []
    newest = max(doubts, key=lambda one: (one.at_s, one.id))
    requests, _ = read_label_requests(store, source.keys, source.pipeline)
    if any(one.finding == newest.id for one in requests):
        return []
    why = withheld(requests, config.labelling, now_s)
    if why:
        logger.info("%s: no labels are asked for: %s", source.pipeline, why)
        return []
    try:
        asked = ask_labels(
            source, store, version=newest.version, rows=config.labelling.rows, now_s=now_s,
            since_s=newest.window.from_s, until_s=newest.window.to_s, finding=newest.id,
        )  # fmt: skip
    except ConfigurationError as error:
        logger.warning("%s: no labels are asked for: %s", source.pipeline, error.line())
        return []
    return [f"{source.pipeline}: finding {newest.id[:12]}: {asked.words}"]
