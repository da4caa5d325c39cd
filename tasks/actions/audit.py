"""Audit a pipeline from a bucket that may be read only, without Prefect. A private key is used for one thing alone, and
only where an installation has it: to sign the head of an audit that found nothing wrong."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from mlratchet.infra.keys.files import InstalledKeys, load_trusted
from mlratchet.infra.ledger.heads import HeadFiles, place_of
from mlratchet.infra.settings import AuditSettings, load_settings, single_request
from mlratchet.infra.storage.opening import Buckets
from mlratchet.models.audit.audit import Audit
from mlratchet.models.audit.generation import Depth
from mlratchet.models.audit.report import AuditReport
from mlratchet.models.errors import ConfigurationError, RatchetError
from mlratchet.models.identity.signing import TrustedKeys
from mlratchet.models.ledger.remembered import RememberedHead, believed_head, digest_of_list, sign_head, write_head


def trusted_keys(file: Path | None) -> TrustedKeys:
    """The public list. Raises ``ConfigurationError`` when none is named."""
    if file is None:
        raise ConfigurationError(
            "an audit needs the public list of keys: --trusted-keys FILE or RATCHET_TRUSTED_KEYS; whoever runs the "
            "pipeline writes it with `ratchet keys export`"
        )
    return load_trusted(file)


def audit(
    settings: AuditSettings, name: str, *, expect_head: str | None, depth: Depth, since: bool = False
) -> AuditReport:
    """The report, with the alias and the head that MLflow remembers held against the ledger where MLflow answers.

    With `since` what is behind the head that the last clean audit of this installation signed is not looked at again. A
    clean audit that hashed every file signs its head, where this is an installation with a key.
    """
    began_s = time.time()
    bucket = Buckets(settings)
    heads = {"--expect-head": expect_head} if expect_head else {}
    shown, notes = registry_view(settings, name)
    if shown is not None and shown.head:
        heads["MLflow"] = shown.head
    trusted = trusted_keys(settings.trusted_keys)
    earlier = remembered_audit(settings, trusted, name)
    remembered = earlier if since else None
    if since and remembered is None:
        notes = [*notes, f"no clean audit of {name} by these keys is remembered here: everything was looked at"]
    report = Audit(bucket(settings.store_bucket), bucket, trusted, name, depth=depth).run(
        known_heads=heads, since=remembered, ends=earlier.ends if earlier is not None else None
    )
    report.notes += notes
    if shown is not None and report.versions:
        report.compare_alias(shown.champion)
    if report.passed and depth.files:
        remember_audit(settings, trusted, report, began_s)
    return report


def remembered_audit(settings: AuditSettings, trusted: TrustedKeys, name: str) -> RememberedHead | None:
    """The head that the last clean audit here signed; None when there is none that is genuine, of this very ledger,
    and by the same list of keys as today's."""
    where = place_of(settings)
    data = HeadFiles(settings.home, where).read(name, "audit")
    return believed_head(data, trusted, verified="audit", where=where, name=name)


def remember_audit(settings: AuditSettings, trusted: TrustedKeys, report: AuditReport, at_s: float) -> None:
    """Sign the head. Who audits elsewhere has no key, and notes the head by hand."""
    head = RememberedHead(
        verified="audit",
        where=place_of(settings),
        name=report.name,
        generation=report.generations,
        digest=report.head,
        trusted=digest_of_list(trusted),
        at_s=at_s,
        decisions_s=report.newest_decision_s,
        ends=report.ends,
    )
    with suppress(RatchetError):
        signer = InstalledKeys(load_settings(settings.home)).signer()
        HeadFiles(settings.home, head.where).keep(report.name, "audit", write_head(sign_head(head, signer)))


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
