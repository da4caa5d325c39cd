"""A window in which nothing was asked has no labelled row, and says so without an error."""

from __future__ import annotations

import pyarrow as pa
from mlratchet.models.inference_log.columns import OF_EVERY_ROW
from mlratchet.models.inference_log.labels import LABELLED
from mlratchet.models.monitoring.measure.answers import TaskFacts, labelled_rows


def test_no_rows_and_no_labels_are_no_labelled_rows() -> None:
    facts = TaskFacts(task="classification", classes=("no", "yes"))
    found = labelled_rows(
        pa.schema(OF_EVERY_ROW).empty_table(), LABELLED.empty_table(), facts, after_s=1.0, due=0, columns=()
    )
    assert len(found.rows.ids) == 0
    assert found.due == 0
