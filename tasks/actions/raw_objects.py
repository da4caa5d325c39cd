"""What lies in the raw bucket below the source of a pipeline, and taking some of it away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from mlratchet.models.errors import ConfigurationError, DataError
from mlratchet.models.nearest import nearest_hint
from mlratchet.models.pipeline.loading import find_pipeline, read_pipeline
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.tasks.wiring import Adapters


class RawLine(TypedDict):
    """One object."""

    key: str  # below the prefix
    size_bytes: int
    modified_s: float


def source_of(adapters: Adapters, name: str) -> tuple[ObjectStore, str]:
    """The bucket that a pipeline reads, and the folder."""
    source = read_pipeline(find_pipeline(adapters.settings.pipelines_dir, name)).source
    bucket = adapters.bucket(source.bucket) if source.bucket else adapters.raw
    return bucket, source.prefix.rstrip("/") + "/"


def list_raw(bucket: ObjectStore, prefix: str) -> list[RawLine]:
    """Every object, in key order."""
    return [
        RawLine(key=info.key.removeprefix(prefix), size_bytes=info.size_bytes, modified_s=info.modified_s)
        for info in bucket.list(prefix)
    ]


def chosen_raw(bucket: ObjectStore, prefix: str, keys: Sequence[str], *, everything: bool) -> list[str]:
    """Which objects are meant, by their names below the prefix; also as `s3://BUCKET/KEY`, as `ratchet upload` prints
    them. A name that ends in a slash is all that is below it.

    Raises ``ConfigurationError`` for nothing named, ``DataError`` for a name that there is not.
    """
    if everything == bool(keys):
        raise ConfigurationError("name what to remove, or --all; one of the two")
    held = [line["key"] for line in list_raw(bucket, prefix)]
    chosen: set[str] = set()
    for key in (one.removeprefix(f"s3://{bucket.bucket}/{prefix}") for one in keys):
        meant = [name for name in held if name == key or (key.endswith("/") and name.startswith(key))]
        if not meant:
            raise DataError(f"s3://{bucket.bucket}/{prefix}{key}: no such object; {nearest_hint(key, held[:1000])}")
        chosen.update(meant)
    return sorted(held if everything else chosen)


def remove_raw(
    bucket: ObjectStore, prefix: str, keys: Sequence[str], *, everything: bool, dry_run: bool = False
) -> list[str]:
    """Delete what `chosen_raw` finds, or nothing of it; returns the names below the prefix.

    Snapshots that were taken keep their own copies, or the versions that they pin. Raises as `chosen_raw` does.
    """
    gone = chosen_raw(bucket, prefix, keys, everything=everything)
    for key in gone if not dry_run else ():
        bucket.delete(prefix + key)
    return gone
