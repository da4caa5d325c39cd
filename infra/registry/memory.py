"""The registry port in memory, for tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import replace

from mlratchet.models.ports.registry import (
    ALIASES,
    VERSION,
    WORK_KEY,
    ModelVersion,
    RegistryError,
    VersionNotFound,
    our_number,
)


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
        version: int | None = None,
    ) -> ModelVersion:
        """See the port."""
        with self._lock:
            for found in self._versions.get(name, {}).values():
                if (found.tags.get(WORK_KEY), found.origin) == (work_key, source_uri):
                    return found
            number = self._last[name] = self._last.get(name, 0) + 1
            ours = {} if version is None else {VERSION: str(version)}
            made = ModelVersion(
                name=name,
                version=number if version is None else version,
                run_id=run_id,
                source_uri=source_uri,
                number=number,
                origin=source_uri,
                tags={**tags, **ours, WORK_KEY: work_key},
                created_s=time.time(),
            )
            self._versions.setdefault(name, {})[number] = made
            return made

    def find_version(self, name: str, work_key: str) -> ModelVersion | None:
        """See the port."""
        with self._lock:
            held = self._versions.get(name, {})
            return next((v for _, v in sorted(held.items()) if v.tags.get(WORK_KEY) == work_key), None)

    def get_version(self, name: str, version: int) -> ModelVersion:
        """See the port."""
        with self._lock:
            held = sorted(self._versions.get(name, {}).values(), key=lambda one: (VERSION not in one.tags, one.number))
            found = next((one for one in held if one.version == version), None)
            if found is None:
                known = ", ".join(str(one.version) for one in sorted(held, key=lambda one: one.version)) or "none"
                raise VersionNotFound(f"{name} has no version {version}; there are {known}")
            return found

    def list_versions(self, name: str) -> list[ModelVersion]:
        """See the port."""
        with self._lock:
            found = [
                replace(v, aliases=tuple(a for a in ALIASES if self._aliases.get((name, a)) == number))
                for number, v in self._versions.get(name, {}).items()
            ]
            return sorted(found, key=lambda one: (one.version, one.number))

    def newest_versions(self, name: str, most: int) -> list[ModelVersion]:
        """See the port."""
        return self.list_versions(name)[-most:]

    def get_alias(self, name: str, alias: str) -> ModelVersion | None:
        """See the port."""
        check_alias(alias)
        with self._lock:
            number = self._aliases.get((name, alias))
            return None if number is None else self._versions[name][number]

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """See the port."""
        check_alias(alias)
        with self._lock:
            self._aliases[name, alias] = self.get_version(name, version).number

    def delete_alias(self, name: str, alias: str) -> None:
        """See the port."""
        check_alias(alias)
        with self._lock:
            self._aliases.pop((name, alias), None)

    def set_tags(self, name: str, version: int, tags: Mapping[str, str]) -> None:
        """See the port."""
        with self._lock:
            held = self.get_version(name, version)
            self._tag(held, tags)

    def edit_tags(self, name: str, number: int, tags: Mapping[str, str]) -> None:
        """See the port."""
        with self._lock:
            self._tag(self._versions[name][number], tags)

    def _tag(self, held: ModelVersion, tags: Mapping[str, str]) -> None:
        made = {**held.tags, **tags}
        self._versions[held.name][held.number] = replace(held, tags=made, version=our_number(held.number, made))

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

    def delete_version(self, name: str, number: int) -> None:
        """See the port."""
        with self._lock:
            self._versions.get(name, {}).pop(number, None)
            for alias in ALIASES:
                if self._aliases.get((name, alias)) == number:
                    del self._aliases[name, alias]


def check_alias(alias: str) -> None:
    """Raises ``ValueError`` for any name but those of the port."""
    if alias not in ALIASES:
        raise ValueError(f"alias {alias!r} is not one of {', '.join(ALIASES)}")
