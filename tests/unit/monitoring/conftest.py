"""What tests of the monitor share that are not about its statistics."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from mlratchet.models.monitoring import drift
from mlratchet.models.monitoring.measure import calibration, quality


@pytest.fixture(scope="module")
def few_resamples() -> Iterator[None]:
    """Half of the time, where a test asks what follows from a figure and not how sure the figure is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drift, "RESAMPLES", 50)
        for measure in (calibration, quality):
            patch.setattr(measure, "RESAMPLES", 250)
        yield
