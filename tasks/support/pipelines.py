"""A name that nobody has heard of must not read like a pipeline without a history."""

from __future__ import annotations

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.ledger.chain import ledger_names
from mlratchet.models.nearest import nearest_hint
from mlratchet.models.pipeline.store import deployed_names
from mlratchet.tasks.wiring import Adapters


def require_pipeline(adapters: Adapters, name: str) -> None:
    """For a command that found nothing of a pipeline. Raises ``ConfigurationError`` with the nearest name when there is
    no file of it here, no deployment, which every run makes first and nobody collects, and no ledger."""
    directory = adapters.settings.pipelines_dir
    known = {path.stem for path in directory.glob("*.yaml")} | deployed_names(adapters.store)
    known |= ledger_names(adapters.store)
    if name not in known:
        raise ConfigurationError(
            f"no pipeline {name!r} in {directory}, no deployment and no ledger of it in {adapters.store.bucket}; "
            f"{nearest_hint(name, sorted(known))}"
        )
