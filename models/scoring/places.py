"""Where rows that are scored come from and where their scores go: places in buckets, and which of them are refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlparse

from mlratchet.models.errors import ConfigurationError

BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"  # as S3 names them: no keys before an "@", no port
PLACE_PATTERN = rf"^(s3://{BUCKET}(/.*)?)?$"
"""Of a place as a form holds it, or of none yet: what does not match is refused before it is stored."""
UP = ("", ".", "..")  # parts that no key of ours has


@dataclass(frozen=True, kw_only=True)
class BucketPlace:
    """A folder of a bucket."""

    bucket: str
    prefix: str  # ends in a slash; empty: the bucket as a whole

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    def holds(self, other: BucketPlace) -> bool:
        """Whether the other one is this one, or lies in it."""
        return self.bucket == other.bucket and other.prefix.startswith(self.prefix)


def place_of_uri(uri: str, what: str) -> BucketPlace:
    """Of `s3://bucket/prefix`. `what` the place is, for the message. Raises ``ConfigurationError``."""
    parsed = urlparse(uri.strip())
    prefix = parsed.path.strip("/")
    if parsed.scheme != "s3" or not parsed.netloc or parsed.query or parsed.fragment:
        raise ConfigurationError(f"{what} {_shown(uri)}: expected s3://bucket/prefix")
    if not re.fullmatch(BUCKET, parsed.netloc):  # keys may stand there: they are not repeated
        raise ConfigurationError(
            f"{what}: what follows s3:// is no name of a bucket; expected s3://bucket/prefix, lower case, without "
            "keys, which belong into the environment or the AWS configuration"
        )
    if prefix and any(part in UP or "\\" in part or "\0" in part for part in prefix.split("/")):
        raise ConfigurationError(f"{what} {_shown(uri)}: its prefix has an empty part, '.', '..', a backslash or NUL")
    return BucketPlace(bucket=parsed.netloc, prefix=f"{prefix}/" if prefix else "")


def _shown(uri: str) -> str:
    return "(with '@', not repeated)" if "@" in uri else repr(uri)


def refuse_places(
    source: BucketPlace, target: BucketPlace, *, raw: str, own: tuple[str, ...], delivered: Sequence[BucketPlace]
) -> None:
    """Raises ``ConfigurationError`` for a place that would damage what is there.

    Args:
        source: Of the rows.
        target: Of the scores.
        raw: The bucket in which deliveries arrive: scores there would be trained on.
        own: Ratchet's other buckets: nothing in them is a delivery, and nothing there is a user's.
        delivered: What pipelines read, rows and labels.
    """
    for place, what in ((source, "input"), (target, "output")):
        if place.bucket in own:
            raise ConfigurationError(f"{what} {place}: {place.bucket} is one of Ratchet's own buckets; name another")
    if target.bucket == raw:
        raise ConfigurationError(
            f"output {target}: deliveries arrive in {raw}, and scores there would be trained on; name another bucket"
        )
    if not target.prefix:
        raise ConfigurationError(f"output {target}: name a prefix below the bucket, such as {target}scores")
    for read in delivered:
        if target.holds(read) or read.holds(target):
            raise ConfigurationError(f"output {target}: a pipeline reads {read}; name a place outside of it")
    if target.holds(source) or source.holds(target):
        raise ConfigurationError(f"output {target}: overlaps with the input {source}; name a place outside of it")
