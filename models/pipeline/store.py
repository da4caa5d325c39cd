"""Publish a pipeline file to the bucket, so that a worker anywhere runs exactly what was deployed."""

from __future__ import annotations

import json
from collections.abc import Sequence

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.stored import stored_document
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore


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


def publish_deployment(store: ObjectStore, name: str, revision: str) -> None:
    """Write down in the bucket which revision is deployed, as `deployments/<name>.json`; the last one counts."""
    store.put(f"deployments/{name}.json", canonical_json({"name": name, "revision": revision}))


def deployed_names(store: ObjectStore) -> set[str]:
    """Of every pipeline that was ever deployed."""
    return {info.key.removeprefix("deployments/").removesuffix(".json") for info in store.list("deployments/")}


def deployed_revisions(store: ObjectStore) -> dict[str, str]:
    """Revision by pipeline."""
    documents = [stored_document(store, info.key, "name", "revision") for info in store.list("deployments/")]
    return {document["name"]: document["revision"] for document in documents}
