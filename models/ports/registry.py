"""The registry port: model versions, their aliases and tags.

The registry is a projection: the ledger decides which version is the champion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from mlratchet.models.errors import InfrastructureError

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
    version: int
    run_id: str
    source_uri: str  # s3://bucket/prefix of the artifact's files
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
    ) -> ModelVersion:
        """Register; searches for the work key first and again after a failure. Raises ``RegistryError``."""
        ...

    def find_version(self, name: str, work_key: str) -> ModelVersion | None:
        """The lowest version that carries the work key, or None."""
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

    def model_tags(self, name: str) -> Mapping[str, str]:
        """Tags of the model as a whole; empty for a model that there is not."""
        ...

    def set_model_tags(self, name: str, tags: Mapping[str, str]) -> None:
        """Idempotent. Raises ``RegistryError`` for a model that there is not."""
        ...

    def delete_version(self, name: str, version: int) -> None:
        """Idempotent. Its number is not given again; its aliases go with it."""
        ...

    def restore_version(
        self,
        name: str,
        version: int,
        *,
        work_key: str,
        run_id: str,
        source_uri: str,
        description: str,
        tags: Mapping[str, str],
    ) -> ModelVersion:
        """Register under this very number; numbers below that were never restored are left out for good.

        Idempotent. Raises ``RegistryError`` when the number is another work key's, or passed already.
        """
        ...
