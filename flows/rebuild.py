"""Everything that the databases of MLflow and Prefect knew, again, from the bucket alone."""

from __future__ import annotations

from mlratchet.flows.deployments import deploy_spec
from mlratchet.infra.stack.prepare import prepare_automation
from mlratchet.models.pipeline.store import deployed_names, deployed_revisions, load_pipeline
from mlratchet.tasks.actions.rebuild import rebuild_registry
from mlratchet.tasks.wiring import Adapters


def rebuild(adapters: Adapters) -> list[str]:
    """Models, versions, runs, deployments and the crash automation; what was restored, one line each."""
    lines = rebuild_registry(adapters)
    prepare_automation(adapters.settings)
    for name, revision in sorted(deployed_revisions(adapters.store).items()):
        if adapters.servers.withdrawn(name):
            continue  # a person took it out of service
        deploy_spec(load_pipeline(adapters.store, revision), adapters)
        lines.append(f"{name}: deployed, revision {revision[:12]}")
    for name in sorted(deployed_names(adapters.store) - set(deployed_revisions(adapters.store))):
        lines.append(f"{name}: not deployed, its deployment is not signed; `ratchet deploy {name}` makes one")
    return lines
