"""Show: what the rows of a training hold, as a page of its MLflow run."""

from __future__ import annotations

import logging

from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.destination import DATA_PAGE
from mlratchet.models.profile.layout import layout_of
from mlratchet.models.profile.page import data_page
from mlratchet.models.profile.profile import profile_of
from mlratchet.tasks.wiring import Run

logger = logging.getLogger(__name__)
MOST_SHARDS = 32  # of a side: the page of a run takes a second, `ratchet data` looks at every row


def show_data(run: Run, dataset: DatasetManifest) -> None:
    """With the next pages of the run, once it trains."""
    try:
        layout = layout_of(run.spec, run.workload, dataset)
        found = profile_of(run.adapters.store, dataset, layout, reading=run.reading, most_shards=MOST_SHARDS)
        run.pages[DATA_PAGE] = data_page(found, name=run.spec.name).encode()
    except Exception as error:  # noqa: BLE001 - a page is no evidence: whatever a foreign picture does, the run goes on
        logger.warning("no page of the data: %s: %s", type(error).__name__, error)
