"""The registry over MLflow's client."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlratchet.infra.reasons import brief
from mlratchet.infra.settings import single_request
from mlratchet.models.ports.registry import (
    ALIASES,
    VERSION,
    WORK_KEY,
    ModelVersion,
    RegistryError,
    VersionNotFound,
    our_number,
)
from requests.exceptions import RequestException

T = TypeVar("T")
SOURCE = "ratchet.source_uri"
REGISTERED = "ratchet.registered_s"  # of a version that was restored: when it was first made
PAGE = 200


class MlflowRegistry:
    """Versions are found by their work key; aliases are the four lower-case names of the port."""

    def __init__(self, tracking_uri: str) -> None:
        self._uri = tracking_uri
        self._client = MlflowClient(tracking_uri, tracking_uri)

    def _call(self, what: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except (MlflowException, RequestException) as exc:
            raise RegistryError(f"{what} at {self._uri}: {brief(exc)}; see `ratchet logs mlflow`") from exc

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
        """See the port. One request without retries, then a search: a lost reply makes no second version."""

        def made_before() -> ModelVersion | None:
            for one in self._of_work(name, work_key):
                if one.origin == source_uri or (model_id is not None and model_id in one.origin):
                    return one
            return None

        found = made_before()
        if found is not None:
            return found
        self._ensure_model(name)
        ours = {} if version is None else {VERSION: str(version)}
        problem: Exception | None = None
        try:
            with single_request():
                self._client.create_model_version(
                    name,
                    source_uri,
                    run_id=run_id,
                    tags={**tags, **ours, WORK_KEY: work_key, SOURCE: source_uri},
                    description=description,
                    model_id=model_id,
                )
        except (MlflowException, RequestException) as exc:
            problem = exc
        made = made_before()
        if made is None:
            raise RegistryError(f"create version of {name} at {self._uri}: {brief(problem)}") from problem
        return made

    def _ensure_model(self, name: str) -> None:
        try:
            self._client.create_registered_model(name)
        except (MlflowException, RequestException) as exc:
            if getattr(exc, "error_code", "") != "RESOURCE_ALREADY_EXISTS":
                raise RegistryError(f"create model {name} at {self._uri}: {brief(exc)}") from exc

    def find_version(self, name: str, work_key: str) -> ModelVersion | None:
        """See the port."""
        return next(iter(self._of_work(name, work_key)), None)

    def _of_work(self, name: str, work_key: str) -> list[ModelVersion]:
        return self._tagged(name, WORK_KEY, work_key)

    def _tagged(self, name: str, tag: str, value: str) -> list[ModelVersion]:
        query = f"name = '{name}' and tags.`{tag}` = '{value}'"
        found = self._call("search versions", lambda: list(self._client.search_model_versions(query, PAGE)))
        return sorted((self._version(v) for v in found), key=lambda v: v.number)

    def get_version(self, name: str, version: int) -> ModelVersion:
        """See the port."""
        for one in self._tagged(name, VERSION, str(version)):
            return one
        try:
            found = self._version(self._client.get_model_version(name, str(version)))
            if found.version == version:
                return found
            problem: Exception | None = None
        except (MlflowException, RequestException) as exc:
            problem = exc
        known = [v.version for v in self.list_versions(name)]
        if version in known:
            raise RegistryError(f"read version {version} of {name} at {self._uri}: {brief(problem)}") from problem
        there = ", ".join(map(str, known)) or "none"
        raise VersionNotFound(f"{name} has no version {version}; there are {there}") from problem

    def list_versions(self, name: str) -> list[ModelVersion]:
        """See the port."""
        found: list[Any] = []
        token: str | None = None
        while True:
            page = self._page(name, PAGE, page_token=token)
            found += list(page)
            token = page.token
            if not token:
                return self._with_aliases(name, found)

    def newest_versions(self, name: str, most: int) -> list[ModelVersion]:
        """See the port."""
        return self._with_aliases(name, list(self._page(name, most, order_by=["version_number DESC"])))

    def _page(self, name: str, most: int, **more: Any) -> Any:
        return self._call(
            "list versions", partial(self._client.search_model_versions, f"name = '{name}'", most, **more)
        )

    def _with_aliases(self, name: str, found: list[Any]) -> list[ModelVersion]:
        """Ascending. `search_model_versions` returns no aliases; the model itself names the holders of all of them."""
        held: dict[int, tuple[str, ...]] = {}
        if found:
            model = self._call("read model", partial(self._client.get_registered_model, name))
            for alias in ALIASES:
                if alias in model.aliases:
                    number = int(model.aliases[alias])
                    held[number] = (*held.get(number, ()), alias)
        return [
            replace(one, aliases=held.get(one.number, ()))
            for one in sorted((self._version(v) for v in found), key=lambda v: (v.version, v.number))
        ]

    def get_alias(self, name: str, alias: str) -> ModelVersion | None:
        """See the port."""
        _check_alias(alias)
        try:
            return self._version(self._client.get_model_version_by_alias(name, alias))
        except MlflowException as exc:
            if exc.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise RegistryError(f"read alias {alias} of {name} at {self._uri}: {brief(exc)}") from exc
        except RequestException as exc:
            raise RegistryError(f"read alias {alias} of {name} at {self._uri}: {exc}") from exc

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """See the port."""
        _check_alias(alias)
        number = str(self.get_version(name, version).number)
        self._call("set alias", lambda: self._client.set_registered_model_alias(name, alias, number))

    def delete_alias(self, name: str, alias: str) -> None:
        """See the port."""
        _check_alias(alias)
        if self.get_alias(name, alias) is not None:
            self._call("delete alias", lambda: self._client.delete_registered_model_alias(name, alias))

    def set_tags(self, name: str, version: int, tags: Mapping[str, str]) -> None:
        """See the port."""
        number = str(self.get_version(name, version).number)
        for key, value in tags.items():
            self._call("set tag", partial(self._client.set_model_version_tag, name, number, key, value))

    def edit_tags(self, name: str, number: int, tags: Mapping[str, str]) -> None:
        """See the port."""
        for key, value in tags.items():
            self._call("set tag", partial(self._client.set_model_version_tag, name, str(number), key, value))

    def model_tags(self, name: str) -> Mapping[str, str]:
        """See the port."""
        try:
            return dict(self._client.get_registered_model(name).tags)
        except (MlflowException, RequestException) as exc:
            if getattr(exc, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
                return {}
            raise RegistryError(f"read model {name} at {self._uri}: {brief(exc)}; see `ratchet logs mlflow`") from exc

    def set_model_tags(self, name: str, tags: Mapping[str, str]) -> None:
        """See the port."""
        for key, value in tags.items():
            self._call("set model tag", partial(self._client.set_registered_model_tag, name, key, value))

    def delete_version(self, name: str, number: int) -> None:
        """See the port."""
        try:
            self._client.delete_model_version(name, str(number))
        except (MlflowException, RequestException) as exc:
            if getattr(exc, "error_code", "") != "RESOURCE_DOES_NOT_EXIST":
                raise RegistryError(f"delete version {number} of {name} at {self._uri}: {brief(exc)}") from exc

    def _version(self, found: Any) -> ModelVersion:
        restored = found.tags.get(REGISTERED)
        created = float(restored) * 1000 if restored else found.creation_timestamp
        return ModelVersion(
            name=str(found.name),
            version=our_number(int(found.version), found.tags),
            run_id=str(found.run_id or ""),
            source_uri=str(found.tags.get(SOURCE, found.source)),
            number=int(found.version),
            origin=str(found.source or ""),
            tags=dict(found.tags),
            created_s=created / 1000 if created else time.time(),
        )


def _check_alias(alias: str) -> None:
    if alias not in ALIASES:
        raise ValueError(f"alias {alias!r} is not one of {', '.join(ALIASES)}")
