"""Audit a pipeline from a bucket that may be read only. Imports neither Prefect nor a private key."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from mlratchet.infra.keys.files import load_trusted
from mlratchet.infra.settings import AuditSettings, single_request
from mlratchet.infra.storage.opening import open_bucket
from mlratchet.models.audit.audit import Audit, Depth
from mlratchet.models.audit.report import AuditReport
from mlratchet.models.errors import ConfigurationError, RatchetError
from mlratchet.models.identity.signing import TrustedKeys


def trusted_keys(file: Path | None) -> TrustedKeys:
    """The public list. Raises ``ConfigurationError`` when none is named."""
    if file is None:
        raise ConfigurationError(
            "an audit needs the public list of keys: --trusted-keys FILE or RATCHET_TRUSTED_KEYS; whoever runs the "
            "pipeline writes it with `ratchet keys export`"
        )
    return load_trusted(file)


def audit(settings: AuditSettings, name: str, *, expect_head: str | None, depth: Depth) -> AuditReport:
    """The report, with the alias and the head that MLflow remembers held against the ledger where MLflow answers."""
    bucket = partial(open_bucket, settings)
    heads = {"--expect-head": expect_head} if expect_head else {}
    shown, notes = registry_view(settings, name)
    if shown is not None and shown.head:
        heads["MLflow"] = shown.head
    report = Audit(bucket(), bucket, trusted_keys(settings.trusted_keys), name, depth=depth).run(known_heads=heads)
    report.notes += notes
    if shown is not None and report.versions:
        report.compare_alias(shown.champion)
    return report


class Shown:
    """What the registry shows of a pipeline."""

    def __init__(self, champion: int | None, head: str) -> None:
        self.champion, self.head = champion, head


def registry_view(settings: AuditSettings, name: str) -> tuple[Shown | None, list[str]]:
    """Champion alias and remembered head; without MLflow None and a note."""
    if settings.mlflow_tracking_uri is None:
        return None, ["MLflow was not asked: a cut tail shows against --expect-head alone"]
    from mlratchet.infra.registry.mlflow import MlflowRegistry
    from mlratchet.models.promotion.move import HEAD

    try:
        with single_request():  # an auditor does not wait for a server that is away
            registry = MlflowRegistry(settings.mlflow_tracking_uri)
            holder = registry.get_alias(name, "champion")
            return Shown(holder.version if holder else None, registry.model_tags(name).get(HEAD, "")), []
    except RatchetError as error:
        return None, [f"MLflow did not answer, a cut tail shows against --expect-head alone: {error}"]
