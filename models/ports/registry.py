"""The registry port: model versions, their aliases and tags.

The registry is a projection: the ledger decides which version is the champion, and a version's number is ours. A
registry counts by itself and never gives a number twice, so it may keep a version under another one after a repair: our
number is a tag of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from mlratchet.models.errors import InfrastructureError

VERSION = "ratchet.version"  # tag: our number of the version
WORK_KEY = "ratchet.work_key"  # tag: the work that it is the version of
MOST_DIGITS = 8  # of a number
ALIASES = ("candidate", "staging", "champion", "previous")


class RegistryError(InfrastructureError):
    """The registry failed or does not know a name."""

    code = "REGISTRY"


class VersionNotFound(RegistryError):  # noqa: N818 - the name is the field's own
    """No version has this number: a mistake of the caller's, not a server's failure."""

    code = "CONFIG"
    exit_code = 2


@dataclass(frozen=True, kw_only=True)
class ModelVersion:
    """One registered version of a pipeline's model."""

    name: str
    version: int  # ours
    run_id: str
    source_uri: str  # s3://bucket/prefix of the artifact's files
    number: int = 0  # the registry's own
    origin: str = ""  # what the registry was given as its source, which nobody can edit: the files, or a logged model
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    created_s: float = 0.0  # seconds since the epoch


@runtime_checkable
class Registry(Protocol):
    """Versions are found again by their ``work_key`` tag, whatever reply was lost."""

    def create_version(
        self,
        name: str,
        *,
        work_key: str,
        run_id: str,
        source_uri: str,
        model_id: str | None,
        description: str,
        tags: Mapping[str, str],
        version: int | None = None,
    ) -> ModelVersion:
        """Register under our number `version`, or under the registry's own without it; one of this work key and source
        that stands is found first, and again after a failure. Raises ``RegistryError``."""
        ...

    def find_version(self, name: str, work_key: str) -> ModelVersion | None:
        """The first that was made of those that carry the work key, or None. Tags can be edited: a hint."""
        ...

    def get_version(self, name: str, version: int) -> ModelVersion:
        """Raises ``VersionNotFound`` naming the versions there are."""
        ...

    def list_versions(self, name: str) -> list[ModelVersion]:
        """All versions, ascending, with their aliases."""
        ...

    def newest_versions(self, name: str, most: int) -> list[ModelVersion]:
        """At most so many of the newest versions, ascending, with their aliases, in one page however many there are."""
        ...

    def get_alias(self, name: str, alias: str) -> ModelVersion | None:
        """Who holds the alias (one of ``ALIASES``), or None."""
        ...

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Idempotent. Refuses any name but those of ``ALIASES``."""
        ...

    def delete_alias(self, name: str, alias: str) -> None:
        """Idempotent."""
        ...

    def set_tags(self, name: str, version: int, tags: Mapping[str, str]) -> None:
        """Idempotent."""
        ...

    def edit_tags(self, name: str, number: int, tags: Mapping[str, str]) -> None:
        """The same, by the registry's own number: our number may be what is to be put right. Idempotent."""
        ...

    def model_tags(self, name: str) -> Mapping[str, str]:
        """Tags of the model as a whole; empty for a model that there is not."""
        ...

    def set_model_tags(self, name: str, tags: Mapping[str, str]) -> None:
        """Idempotent. Raises ``RegistryError`` for a model that there is not."""
        ...

    def delete_version(self, name: str, number: int) -> None:
        """By the registry's own number. Idempotent. The number is not given again; its aliases go with it."""
        ...


def our_number(number: int, tags: Mapping[str, str]) -> int:
    """Our number of the version that the registry calls `number`: as its tag says, or the same where it has none."""
    said = tags.get(VERSION, "")
    return int(said) if said.isdecimal() and len(said) <= MOST_DIGITS else number


def restore_version(
    registry: Registry,
    name: str,
    version: int,
    *,
    work_key: str,
    run_id: str,
    source_uri: str,
    description: str,
    tags: Mapping[str, str],
) -> ModelVersion:
    """Register what was lost under its number, whatever the registry's own is by now. Idempotent."""
    wanted = (version, work_key, source_uri)
    for one in registry.list_versions(name):
        if (one.version, one.tags.get(WORK_KEY), one.origin) == wanted:
            return one
    return registry.create_version(
        name,
        version=version,
        work_key=work_key,
        run_id=run_id,
        source_uri=source_uri,
        model_id=None,
        description=description,
        tags=tags,
    )
