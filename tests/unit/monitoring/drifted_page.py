"""The page of monitoring for those who look at it: as text, and in a browser."""

from __future__ import annotations

from mlratchet.models.monitoring.config import MonitoringConfig
from mlratchet.models.monitoring.finding import findings_of
from mlratchet.models.monitoring.stretch import stretch_of
from mlratchet.models.monitoring.window import gaps_in, windows_of
from mlratchet.models.profile.windows_page import windows_page

from tests.unit.monitoring.site import CONFIG, Site, Traffic
from tests.unit.monitoring.test_asking_again import asked


def drifted_page(name: str) -> str:
    """Of four windows, of which the last two drifted and were answered worse. `name`: of the pipeline."""
    site = Site(MonitoringConfig.model_validate({**CONFIG.model_dump(mode="json"), "sample": {"rows": 60}}))
    site.ask = asked
    site.serve(*[Traffic(at) for at in range(2)], *[Traffic(at, accuracy=0.6, shift=3.0) for at in range(2, 4)])
    site.look()
    windows = windows_of(site.store, "shop")
    findings = sorted(findings_of(site.store, "shop"), key=lambda one: one.at_s)
    return windows_page(
        windows, findings, site.reference, pipeline=name, gaps=gaps_in(windows),
        stretch=stretch_of(windows, site.reference, site.config),
    )  # fmt: skip
