"""What a fresh stack needs inside: buckets, and the automation that notices runs whose process is gone."""

from __future__ import annotations

import logging
from typing import Any

import httpx
from mlratchet.infra.settings import Settings
from mlratchet.infra.storage.opening import open_bucket
from mlratchet.models.errors import RatchetError

AUTOMATION = "ratchet: a run without heartbeats has crashed"
SILENCE_S = 90  # three heartbeats
ENDED = ("Completed", "Failed", "Cancelled", "Crashed", "Suspended")  # its process, whatever becomes of the run

logger = logging.getLogger(__name__)


PROBE = "health/probe"


def prepare_buckets(settings: Settings) -> bool:
    """Create the buckets, write and read; False while the server is not ready for it.

    A gateway that answers is not enough: after a restart its volumes take some seconds to be known again.
    """
    try:
        for name in (settings.raw_bucket, settings.store_bucket, settings.mlflow_bucket):
            store = open_bucket(settings, name)
            store.ensure_bucket()
            store.put(PROBE, b"ready")
            store.get(PROBE)
    except RatchetError:
        logger.info("S3 is not ready yet", exc_info=True)
        return False
    return True


def prepare_automation(settings: Settings) -> bool:
    """Make the crash automation unless it is there; False while the server is not ready for it.

    A killed worker and flow send no state: the missing heartbeat has to (Prefect's "zombie flows").
    """
    auth = None
    if settings.prefect_auth is not None:
        user, _, password = settings.prefect_auth.get_secret_value().partition(":")
        auth = httpx.BasicAuth(user, password)
    try:
        with httpx.Client(base_url=settings.prefect_api_url, auth=auth, timeout=10) as client:
            found = client.post("/automations/filter", json={}).raise_for_status().json()
            held = next((one for one in found if one["name"] == AUTOMATION), None)
            if held is None:
                client.post("/automations/", json=crash_automation()).raise_for_status()
            elif set(held["trigger"]["expect"]) != set(crash_automation()["trigger"]["expect"]):  # of an older version
                client.put(f"/automations/{held['id']}", json=crash_automation()).raise_for_status()
    except httpx.HTTPError:
        logger.info("Prefect is not ready yet", exc_info=True)
        return False
    return True


def crash_automation() -> dict[str, Any]:
    """Prefect's API: after a heartbeat, neither another one nor the end of its process within `SILENCE_S`."""
    heartbeat = "prefect.flow-run.heartbeat"
    return {
        "name": AUTOMATION,
        "description": f"No heartbeat for {SILENCE_S} s: the process is gone; the same command again resumes the work.",
        "enabled": True,
        "trigger": {
            "type": "event",
            "posture": "Proactive",
            "match": {"prefect.resource.id": "prefect.flow-run.*"},
            "after": [heartbeat],
            "expect": [heartbeat, *(f"prefect.flow-run.{state}" for state in ENDED)],
            "for_each": ["prefect.resource.id"],
            "threshold": 1,
            "within": SILENCE_S,
        },
        "actions": [
            {
                "type": "change-flow-run-state",
                "state": "CRASHED",
                "message": f"no heartbeat for {SILENCE_S} s; the same command again resumes it",
            }
        ],
    }
