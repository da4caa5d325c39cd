"""Buckets that keep versions: what was overwritten or deleted there stays, and only its owner may let it go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from shlex import quote

from mlratchet.models.erasure.parts import Touch
from mlratchet.models.ports.storage import ObjectInfo, ObjectStore, StorageError
from mlratchet.models.ports.versions import VersionedStore


def told_version(bucket: str, info: ObjectInfo) -> str:
    """A line about a version that holds records of theirs."""
    return (
        f"{bucket}/{info.key} version {info.version}: holds records of theirs, and the bucket keeps it: `aws s3api "
        f"delete-object --bucket {quote(bucket)} --key {quote(info.key)} --version-id {quote(info.version)}`"
    )


class OlderVersions:
    """Of the buckets in which objects of ours go."""

    def __init__(self, buckets: Sequence[ObjectStore]) -> None:
        self._buckets = buckets

    @staticmethod
    def listed(bucket: ObjectStore, prefix: str) -> Iterator[ObjectInfo]:
        """Everything below a prefix; of a bucket that keeps versions each of them."""
        if isinstance(bucket, VersionedStore) and keeps_versions(bucket):
            return bucket.list_versions(prefix, older=True)
        return bucket.list(prefix)

    def of(self, touches: Iterable[Touch]) -> list[str]:
        """A line for each bucket that keeps what goes."""
        counts = Counter(one.bucket for one in touches)
        return [
            f"{one.bucket}: keeps versions of the {counts[one.bucket]} objects that go there; delete those too (`aws "
            f"s3api list-object-versions --bucket {one.bucket}`, then delete-object with --version-id; --json names "
            "the objects)"
            for one in self._buckets
            if counts[one.bucket] and keeps_versions(one)
        ] + [
            f"{one.bucket}: does not say whether it keeps versions of what is overwritten or deleted: look there"
            for one in self._buckets
            if keeps_versions(one) is None
        ]


def keeps_versions(bucket: ObjectStore) -> bool | None:
    """Whether a bucket keeps what is overwritten or deleted; None where it does not say, as to somebody without the
    right to ask."""
    if not isinstance(bucket, VersionedStore):
        return False
    try:
        return bucket.keeps_versions()
    except StorageError:
        return None
