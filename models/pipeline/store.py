"""Publish a pipeline file to the bucket, so that a worker anywhere runs exactly what was deployed, and nothing else.

A revision is named by its digest. Which one a run takes is said by signed records alone: the newest entry of the chain
`deployments/<name>/<number>.json`, or an order for this one run, which `ratchet run --set` publishes. Whoever calls
Prefect's API can start a run, and choose neither.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from contextlib import suppress

from mlratchet.models.config import StrictModel
from mlratchet.models.errors import ConfigurationError, SecurityError
from mlratchet.models.identity.canonical import canonical_json, digest
from mlratchet.models.identity.signed_chain import ChainedEntry, SignedChain
from mlratchet.models.identity.signed_records import ForeignRecord
from mlratchet.models.identity.stored import stored_document
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.ports.storage import ObjectExists, ObjectNotFound, ObjectStore
from pydantic import ValidationError

ORDER_S = 7 * 86_400.0  # seconds that an order waits for its run


class Deployment(ChainedEntry):
    """One entry of a pipeline's chain: from then on its runs take this revision."""

    revision: str
    actor: str
    at_s: float
    """Seconds since the epoch."""


class Order(StrictModel):
    """One run of one revision, asked for on the command line."""

    name: str
    revision: str
    actor: str
    at_s: float
    """Seconds since the epoch."""
    token: str
    """Unique: an order is for one run."""


def publish_pipeline(store: ObjectStore, spec: PipelineSpec) -> str:
    """Write `pipelines/<revision>.json`; returns the revision."""
    revision = spec.revision()
    store.create(f"pipelines/{revision}.json", canonical_json(spec.model_dump(mode="json")))
    return revision


def load_pipeline(store: ObjectStore, revision: str, *, overrides: Sequence[str] = ()) -> PipelineSpec:
    """The pipeline of a revision, its digest verified, with ``a.b=value`` overrides.

    Raises ``ConfigurationError`` for an unknown revision.
    """
    key = f"pipelines/{revision}.json"
    try:
        data = store.get(key, sha256=revision)
    except ObjectNotFound as exc:
        raise ConfigurationError(
            f"no pipeline revision {revision[:12]} in {store.bucket}; run `ratchet deploy`"
        ) from exc
    text = json.dumps(json.loads(data))
    return parse_pipeline(text, where=f"pipeline {revision[:12]}", overrides=overrides, published=True)


def deployment_key(name: str, number: int) -> str:
    """Where an entry is published."""
    return f"deployments/{name}/{number:08d}.json"


def _chain(store: ObjectStore, name: str) -> SignedChain[Deployment]:
    return SignedChain(store, "deployments/", name, Deployment, what="a deployment")


def newest_deployment(store: ObjectStore, name: str) -> Deployment | None:
    """The entry that runs follow, or None; what does not verify is none. Raises ``SecurityError``."""
    chain = _chain(store, name)
    for key in reversed(chain.keys()):
        with suppress(ForeignRecord):
            return chain.read(key)
    return None


def publish_deployment(store: ObjectStore, name: str, revision: str, *, actor: str, at_s: float) -> Deployment:
    """Add an entry to the chain, unless the newest one says the same."""
    while True:
        newest = newest_deployment(store, name)
        if newest is not None and newest.revision == revision:
            return newest
        made = Deployment(
            name=name,
            number=newest.number + 1 if newest is not None else 1,
            revision=revision,
            previous=newest.digest() if newest is not None else "",
            actor=actor,
            at_s=at_s,
        )
        with suppress(ObjectExists):  # somebody else deployed meanwhile
            return _chain(store, name).create(made)


def broken_deployments(store: ObjectStore, name: str) -> list[str]:
    """What is wrong with a pipeline's chain, one line each: entries that are gone, foreign, or do not follow."""
    return _chain(store, name).problems()


def publish_order(store: ObjectStore, name: str, revision: str, *, actor: str, at_s: float) -> str:
    """Write down that one run of `revision` is wanted; returns what the run is told."""
    order = Order(name=name, revision=revision, actor=actor, at_s=at_s, token=uuid.uuid4().hex)
    document = order.model_dump(mode="json")
    identity = digest(document)
    store.create(f"orders/{name}/{identity}.json", canonical_json(document))
    return identity


def take_order(store: ObjectStore, name: str, identity: str, *, run_id: str, now_s: float) -> Order:
    """The order, for this run alone.

    Raises ``SecurityError`` for one that nobody of ours signed, ``ConfigurationError`` for one that another run took or
    that waited too long.
    """
    key = f"orders/{name}/{identity}.json"
    again = f"`ratchet run {name} --set ...` asks anew"
    try:
        order = Order(**stored_document(store, key, "name", "revision", "actor"))
    except (ObjectNotFound, ValidationError) as error:
        raise SecurityError(f"no signed order {identity[:12]} for {name} in {store.bucket}; {again}") from error
    if now_s - order.at_s > ORDER_S:
        raise ConfigurationError(
            f"order {identity[:12]} for {name} waited longer than {ORDER_S / 86_400:.0f} d; {again}"
        )
    try:
        store.create(f"orders/{name}/{identity}-taken.json", canonical_json({"run": run_id}))
    except ObjectExists as error:
        raise ConfigurationError(f"order {identity[:12]} for {name} was for another run; {again}") from error
    return order


def deployed_names(store: ObjectStore) -> set[str]:
    """Of every pipeline that was ever deployed."""
    return {info.key.split("/")[1].removesuffix(".json") for info in store.list("deployments/")}


def deployed_revisions(store: ObjectStore) -> dict[str, str]:
    """Revision by pipeline, of those whose deployment is signed."""
    newest = {name: newest_deployment(store, name) for name in sorted(deployed_names(store))}
    return {name: found.revision for name, found in newest.items() if found is not None}
