"""Equal meaning gives equal bytes; what decides the weights decides the key, and nothing else does."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlratchet.models.identity.canonical import canonical_json, digest
from mlratchet.models.pipeline.loading import read_pipeline
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.pipeline.work_key import work_key, work_parts

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_canonical_json_reads_back_and_ignores_the_order_of_keys(value: object) -> None:
    assert json.loads(canonical_json(value)) == value
    if isinstance(value, dict):
        assert digest(dict(reversed(list(value.items())))) == digest(value)


@pytest.mark.parametrize("bad", [math.nan, math.inf, {"a": [1, -math.inf]}])
def test_non_finite_numbers_have_no_canonical_form(bad: object) -> None:
    with pytest.raises(ValueError, match="finite numbers only"):
        canonical_json(bad)


def test_keys_that_are_not_text_are_refused() -> None:
    with pytest.raises(ValueError, match="expected str"):
        canonical_json({1: "a"})


@pytest.fixture
def key(digits_file: Path) -> Callable[..., str]:
    def make(
        *overrides: str, snapshot: str = "s", dataset: str = "d", code: str = "c", torch: str = "2.13.0", world: int = 2
    ) -> str:
        spec: PipelineSpec = read_pipeline(digits_file, overrides=overrides)
        return work_key(
            work_parts(spec, snapshot_id=snapshot, dataset_id=dataset, code=code, torch_version=torch, world=world)
        )

    return make


def test_what_decides_the_weights_changes_the_key(key: Callable[..., str]) -> None:
    keys = {
        key(),
        key("train.epochs=3"),
        key("train.seed=8"),
        key("train.optimizer.learning_rate=0.1"),
        key("workload.parameters.base_width=8"),
        key(f"train.initial_weights={'a' * 64}"),
        key(snapshot="t"),
        key(dataset="e"),
        key(code="x"),
        key(torch="2.14.0"),
    }
    assert len(keys) == 10


def test_what_does_not_decide_the_weights_leaves_the_key(key: Callable[..., str]) -> None:
    same = {
        key(),
        key("description=other"),
        key("owner=someone"),
        key("gates.champion.0.minimum=0.5"),
        key("serving.threads=2"),
        key("schedule.cron='* * * * *'"),
        key("train.processes=1", world=1),
        key("train.loader_workers=2"),
        key("train.checkpoint.every_steps=3"),
    }
    assert len(same) == 1


def test_in_fast_mode_the_number_of_processes_decides_the_weights_too(key: Callable[..., str]) -> None:
    assert key("train.mode=fast", world=1) != key("train.mode=fast", world=2)
    assert key("train.mode=fast") != key()
