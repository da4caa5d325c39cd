"""What is worked out before a fork is made: a fork reads none of it again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mlratchet.infra.storage.s3 import S3Store
from mlratchet.infra.warm.tree import STAGES, WORKED_OUT
from mlratchet.infra.warm.worked_out import work_out
from mlratchet.models.identity import normal_form
from mlratchet.models.identity.product import EVERY


def test_the_stage_of_the_runs_works_it_out_and_no_stage_before_it() -> None:
    assert [stage for stage, modules in STAGES.items() if WORKED_OUT in modules] == ["runs"]


def test_afterwards_neither_ratchets_code_nor_packages_nor_services_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib_metadata

    work_out()
    before = {name: part.digest() for name, part in EVERY.items()}
    read: list[Any] = []

    def noted(what: Any, *more: Any) -> Any:
        read.append(what)
        raise AssertionError(f"{what!r} is read again")

    monkeypatch.setattr(normal_form, "read_source", noted)
    monkeypatch.setattr(importlib_metadata, "packages_distributions", noted)
    assert {name: part.digest() for name, part in EVERY.items()} == before
    from mlflow.utils.requirements_utils import _init_modules_to_packages_map

    _init_modules_to_packages_map()  # type: ignore[no-untyped-call]
    monkeypatch.setattr(json, "loads", noted)
    S3Store("again", endpoint_url="http://127.0.0.1:1", region="r", access_key="a", secret_key="b")
    assert read == []
