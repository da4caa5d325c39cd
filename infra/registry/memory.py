"""The registry port in memory, for tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import replace

from mlratchet.models.ports.registry import ALIASES, ModelVersion, RegistryError, VersionNotFound


class MemoryRegistry:
    """Versions and aliases in this process. Thread-safe."""

    def __init__(self) -> None:
        self._versions: dict[str, dict[int, ModelVersion]] = {}
        self._last: dict[str, int] = {}  # number given last, deleted ones included
        self._aliases: dict[tuple[str, str], int] = {}
        self._model_tags: dict[str, dict[str, str]] = {}
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
            number = self._last[name] = self._last.get(name, 0) + 1
            made = ModelVersion(
                name=name,
                version=number,
                run_id=run_id,
                source_uri=source_uri,
                tags={**tags, "ratchet.work_key": work_key},
                created_s=time.time(),
            )
            self._versions.setdefault(name, {})[number] = made
            return made

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
        """See the port."""
        with self._lock:
            held = self._versions.get(name, {}).get(version)
            if held is not None and held.tags.get("ratchet.work_key") == work_key:
                return held
            last = self._last.get(name, 0)
            if version <= last:
                raise RegistryError(f"{name} version {version} cannot be restored: the newest number is {last}")
            self._last[name] = version - 1
            return self.create_version(
                name,
                work_key=work_key,
                run_id=run_id,
                source_uri=source_uri,
                model_id=None,
                description=description,
                tags=tags,
            )

    def find_version(self, name: str, work_key: str) -> ModelVersion | None:
        """See the port."""
        with self._lock:
            held = self._versions.get(name, {})
            return next((v for _, v in sorted(held.items()) if v.tags.get("ratchet.work_key") == work_key), None)

    def get_version(self, name: str, version: int) -> ModelVersion:
        """See the port."""
        with self._lock:
            held = self._versions.get(name, {})
            if version not in held:
                known = ", ".join(str(number) for number in sorted(held)) or "none"
                raise VersionNotFound(f"{name} has no version {version}; there are {known}")
            return held[version]

    def list_versions(self, name: str) -> list[ModelVersion]:
        """See the port."""
        with self._lock:
            return [
                replace(v, aliases=tuple(a for a in ALIASES if self._aliases.get((name, a)) == number))
                for number, v in sorted(self._versions.get(name, {}).items())
            ]

    def newest_versions(self, name: str, most: int) -> list[ModelVersion]:
        """See the port."""
        return self.list_versions(name)[-most:]

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
            self._versions[name][version] = replace(held, tags={**held.tags, **tags})

    def model_tags(self, name: str) -> Mapping[str, str]:
        """See the port."""
        with self._lock:
            return dict(self._model_tags.get(name, {}))

    def set_model_tags(self, name: str, tags: Mapping[str, str]) -> None:
        """See the port."""
        with self._lock:
            if name not in self._last:
                raise RegistryError(f"there is no model {name}")
            self._model_tags[name] = {**self._model_tags.get(name, {}), **tags}

    def delete_version(self, name: str, version: int) -> None:
        """See the port."""
        with self._lock:
            self._versions.get(name, {}).pop(version, None)
            for alias in ALIASES:
                if self._aliases.get((name, alias)) == version:
                    del self._aliases[name, alias]


def check_alias(alias: str) -> None:
    """Raises ``ValueError`` for any name but those of the port."""
    if alias not in ALIASES:
        raise ValueError(f"alias {alias!r} is not one of {', '.join(ALIASES)}")
