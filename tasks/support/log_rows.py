"""Labelled rows of the inference log join a delivery, as one more object of its snapshot."""

from __future__ import annotations

import logging
import time
import unicodedata

from mlratchet.models.data.snapshot import Snapshot, extended
from mlratchet.models.errors import DataError
from mlratchet.models.inference_log.config import LabelsConfig
from mlratchet.models.inference_log.labels import labelled
from mlratchet.models.inference_log.reading import read_log
from mlratchet.models.inference_log.training_rows import as_file, rows_for_training
from mlratchet.models.sources.log_rows import OBJECT
from mlratchet.tasks.support.brought import brought
from mlratchet.tasks.wiring import Run

DAY_S = 86_400.0

logger = logging.getLogger(__name__)


def with_log_rows(run: Run, snapshot: Snapshot, *, now_s: float | None = None) -> Snapshot:
    """The snapshot with the rows that `source.inference_log` asks for; the same where there are none.

    A stretch of the log that is not whole gives none: what is missing from it may be what somebody took away.
    """
    wanted, schema = run.spec.source.inference_log, run.spec.example_schema
    if wanted is None or schema is None:
        return snapshot
    refuse_taken(snapshot)
    now, store, keys = time.time() if now_s is None else now_s, run.adapters.store, run.adapters.keys
    stretch = read_log(store, keys, run.spec.name, since_s=now - wanted.days * DAY_S, until_s=now, whole=schema.inputs)
    if not stretch.whole:
        logger.warning("no row of the inference log is trained on: %s", "; ".join(stretch.problems)[:500])
        return snapshot
    config = run.spec.serving.labels or LabelsConfig()
    labels = labelled(stretch, store, keys, config, now_s=now, brought=brought(run.adapters, config))
    rows, newest_s = rows_for_training(stretch.table, labels.table, schema, wanted)
    logger.info("%d labelled rows of the inference log join the delivery", len(rows))
    if not rows:
        return snapshot
    name, data = as_file(rows, run.spec.source.format or "csv", newest_s)
    return extended(store, snapshot, name, data)


def refuse_taken(snapshot: Snapshot) -> None:
    """Raises ``DataError`` where an object of the delivery is called as rows of the log are: they would be taken for
    such."""
    for one in snapshot.objects:
        if unicodedata.normalize("NFKC", one.key).casefold().startswith(OBJECT):
            raise DataError(
                f"{snapshot.prefix}{one.key}: was delivered, and names that begin with {OBJECT} are of rows that "
                "source.inference_log adds; rename it"
            )
