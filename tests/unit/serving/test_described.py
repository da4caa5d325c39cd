"""What `/openapi.json` promises of six schemas holds in every media type: no 5xx, no status that it does not name."""

from __future__ import annotations

import itertools
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies as st
from mlratchet.models.serving.reading.as_file import PICTURES, SOUNDS
from mlratchet.models.serving.reading.media import ARROW, CSV, NPY, media_types
from mlratchet.models.serving.slot import Slot

from tests.left_out import most_slow
from tests.unit.serving.by_contract import UNSAYABLE, check
from tests.unit.serving.conftest import app_of
from tests.unit.serving.six_schemas import KINDS, png, predictor_of, wav


@pytest.fixture(scope="module", autouse=True)
def _bodies() -> None:
    for media in (*PICTURES, *SOUNDS):
        good = png() if media in PICTURES else wav()
        schemathesis.openapi.media_type(media, st.one_of(st.just(good), st.binary(max_size=80)))
    rows = st.lists(st.text(alphabet='abAB01.,"\n\x00é', max_size=8), max_size=4).map(",".join)
    schemathesis.openapi.media_type(CSV, rows.map(str.encode))
    for media in (ARROW, NPY):
        schemathesis.openapi.media_type(media, st.binary(max_size=80))


def serving(kind: str) -> Any:
    slot = Slot()
    slot.swap(predictor_of(kind))
    return app_of(slot)


@pytest.mark.parametrize("kind", most_slow(KINDS, keep=2))
def test_no_request_to_any_of_six_schemas_is_a_server_error(kind: str) -> None:
    schema = schemathesis.openapi.from_asgi("/m/openapi.json", serving(kind), headers={"host": "localhost"})
    operations = {operation.path: operation for operation in (one.ok() for one in schema.get_all_operations())}
    sent: set[str] = set()
    modes = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
    for path, mode in itertools.product(("/predict", "/explain"), modes):

        @hypothesis.given(case=operations[path].as_strategy(generation_mode=mode))
        @hypothesis.settings(max_examples=8, suppress_health_check=list(hypothesis.HealthCheck), deadline=None)
        def holds(case: schemathesis.Case) -> None:
            sent.add(case.media_type)
            check(case, *UNSAYABLE)

        holds()
    assert sent >= set(media_types(predictor_of(kind).signature)) & {"application/json"}
