"""A ledger with registered versions: small enough to be made in milliseconds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mlratchet.infra.registry.memory import MemoryRegistry
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.decisions.gate_run import GateRun, publish_gate_run
from mlratchet.models.registration.record import Registration, publish_registration

Register = Callable[..., Registration]


def record_of(version: int, name: str = "digits") -> Registration:
    """Of a version whose artifact is not looked at."""
    return Registration(
        name=name, version=version, work_key=f"w{version}", run_id="r", model_id=None, source_uri="s3://b/p",
        manifest={}, manifest_digest=f"m{version}", weights_key="k", weights_sha256="s", snapshot_id="s",
        dataset_id="d", rows_key="r", revision="v", parent_version=None, registered_s=0.0,
        tags={"ratchet.snapshot": f"s{version}"},
    )  # fmt: skip


@pytest.fixture
def registry() -> MemoryRegistry:
    """Empty."""
    return MemoryRegistry()


@pytest.fixture
def register(store: MemoryStore, registry: MemoryRegistry) -> Register:
    """Register the next version, in bucket and registry, and let it pass its staging gate or not."""

    def make(*, staged: bool = True) -> Registration:
        version = len(registry.list_versions("digits")) + 1
        record = record_of(version)
        registry.create_version(
            "digits", work_key=record.work_key, run_id="r", source_uri=record.source_uri, model_id=None,
            description="", tags=record.tags,
        )  # fmt: skip
        publish_registration(store, record)
        verdict = "pass" if staged else "fail"
        publish_gate_run(
            store,
            GateRun(
                id=f"g{version}", gate="staging", work_key=record.work_key, verdict=verdict, decision=f"s{version}"
            ),
        )
        return record

    return make
