"""The registry port in memory, for tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import replace

from mlratchet.models.ports.registry import ALIASES, ModelVersion, RegistryError


class MemoryRegistry:
    """Versions and aliases in this process. Thread-safe."""

    def __init__(self) -> None:
        self._versions: dict[str, list[ModelVersion]] = {}
        self._aliases: dict[tuple[str, str], int] = {}
        self._lock = threading.RLock()

    def create_version(
        self,
        name: str,
        *,
        work_key: str,
        run_id: str,
        source_uri: str,
        model_id: str | None,  # noqa: ARG002 - of the port
        description: str,  # noqa: ARG002 - of the port
        tags: Mapping[str, str],
    ) -> ModelVersion:
        """See the port."""
        with self._lock:
            found = self.find_version(name, work_key)
            if found is not None:
                return found
            held = self._versions.setdefault(name, [])
            made = ModelVersion(
                name=name,
                version=len(held) + 1,
                run_id=run_id,
                source_uri=source_uri,
                tags={**tags, "ratchet.work_key": work_key},
                created_s=time.time(),
            )
            held.append(made)
            return made

    def find_version(self, name: str, work_key: str) -> ModelVersion | None:
        """See the port."""
        with self._lock:
            held = self._versions.get(name, [])
            return next((v for v in held if v.tags["ratchet.work_key"] == work_key), None)

    def get_version(self, name: str, version: int) -> ModelVersion:
        """See the port."""
        with self._lock:
            held = self._versions.get(name, [])
            if not 1 <= version <= len(held):
                known = ", ".join(str(v.version) for v in held) or "none"
                raise RegistryError(f"{name} has no version {version}; there are {known}")
            return held[version - 1]

    def list_versions(self, name: str) -> list[ModelVersion]:
        """See the port."""
        with self._lock:
            return [
                replace(v, aliases=tuple(a for a in ALIASES if self._aliases.get((name, a)) == v.version))
                for v in self._versions.get(name, [])
            ]

    def get_alias(self, name: str, alias: str) -> ModelVersion | None:
        """See the port."""
        check_alias(alias)
        with self._lock:
            version = self._aliases.get((name, alias))
            return None if version is None else self.get_version(name, version)

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """See the port."""
        check_alias(alias)
        with self._lock:
            self._aliases[name, alias] = self.get_version(name, version).version

    def delete_alias(self, name: str, alias: str) -> None:
        """See the port."""
        check_alias(alias)
        with self._lock:
            self._aliases.pop((name, alias), None)

    def set_tags(self, name: str, version: int, tags: Mapping[str, str]) -> None:
        """See the port."""
        with self._lock:
            held = self.get_version(name, version)
            self._versions[name][version - 1] = replace(held, tags={**held.tags, **tags})


def check_alias(alias: str) -> None:
    """Raises ``ValueError`` for any name but those of the port."""
    if alias not in ALIASES:
        raise ValueError(f"alias {alias!r} is not one of {', '.join(ALIASES)}")
