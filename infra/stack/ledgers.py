"""Ledgers and the registry that follows them, for `ratchet doctor`."""

from __future__ import annotations

from mlratchet.infra.settings import Settings, single_request
from mlratchet.infra.storage.opening import open_bucket
from mlratchet.models.errors import RatchetError
from mlratchet.models.identity.signing import TrustedKeys
from mlratchet.models.ledger.chain import read_chain
from mlratchet.models.ports.registry import Registry
from mlratchet.models.ports.storage import ObjectStore

Line = tuple[str, str, bool, str]  # what, found, ok, do


def examine_ledgers(settings: Settings, trusted: TrustedKeys) -> list[Line]:
    """A line per pipeline that has a champion."""
    from mlratchet.infra.registry.mlflow import MlflowRegistry

    store = open_bucket(settings)
    names = sorted({info.key.split("/")[1] for info in store.list("ledger/")})
    with single_request():
        registry = MlflowRegistry(settings.mlflow_tracking_uri)
        return [examine_ledger(store, registry, trusted, name) for name in names]


def examine_ledger(store: ObjectStore, registry: Registry, trusted: TrustedKeys, name: str) -> Line:
    """Whether the ledger verifies and the alias `champion` names its newest version."""
    what = f"ledger of {name}"
    try:
        chain = read_chain(store, name)
        chain.verify(trusted)
        holder = registry.get_alias(name, "champion")
    except RatchetError as error:
        return what, error.line(), False, f"`ratchet audit {name}`"
    head = chain.head
    version = head.entry.version if head is not None else None
    shown = holder.version if holder is not None else None
    if shown != version:
        return what, f"champion is version {version}, the alias names {shown}", False, "`ratchet reconcile`"
    return what, f"{len(chain.links)} generations verify, the alias follows", True, ""
