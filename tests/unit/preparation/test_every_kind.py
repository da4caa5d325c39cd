"""What holds for every kind: a row is the same bits alone and among others, and rows give one state however cut."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from mlratchet.models.preparation.base import State
from mlratchet.models.preparation.composed import PreparationPlan
from mlratchet.models.preparation.section import PreparationSection
from mlratchet.models.tensors.named import Inputs, Ragged

from tests.conftest import REPOSITORY
from tests.unit.preparation.examples import FIELDS, schema_of, table

SECTIONS: Mapping[str, dict[str, Any]] = {
    "as usual": {},
    "otherwise": {
        "kinds": {
            "number": {"clip": [0.05, 0.95], "scale": "robust", "log": True, "limit": 2.0},
            "time": {"parts": ["hour", "weekday", "day", "month", "day_of_year"], "indicator": False},
            "text": {"tokens": "words", "lowercase": True, "max_length": 4},
            "image": {"height": 4, "width": 5, "channels": 1},
            "audio": {"normalise": "each", "rate_hz": 4000, "bands": 8},
            "letters": {"encoding": "kmers", "k": 2, "reverse_complement": True},
            "tensor": {"scale": "standard"},
        },
        "fields": {"age": {"impute": 30.0, "scale": "none"}},
    },
    "of one length": {
        "kinds": {"letters": {"length": 6, "reverse_complement": True}, "audio": {"normalise": "none"}},
        "fields": dict.fromkeys(("photo", "pay", "seen", "note"), "drop"),
    },
}


def plan_of(name: str) -> PreparationPlan:
    return PreparationPlan(schema_of(*FIELDS), PreparationSection.model_validate(SECTIONS[name]))


def cut(rows: pa.Table, *sizes: int) -> Any:
    def pieces() -> Iterator[pa.Table]:
        at = 0
        for size in sizes:
            yield rows.slice(at, size)
            at += size
        yield rows.slice(at)

    return pieces


def bits(inputs: Inputs) -> dict[str, list[bytes]]:
    """Of every row of every tensor: a difference in the sign of a zero is one."""
    return {
        name: [np.asarray(column[at]).tobytes() for at in range(len(inputs))] for name, column in inputs.columns.items()
    }


@pytest.mark.parametrize("name", SECTIONS)
def test_a_row_alone_becomes_the_bits_that_it_is_among_many(name: str) -> None:
    plan, rows = plan_of(name), table(60)
    state = plan.fit(cut(rows))
    asked = table(40, seed=1)
    together = bits(plan.apply(asked, state))
    alone = [bits(plan.apply(asked.slice(at, 1), state)) for at in range(asked.num_rows)]
    for tensor, column in together.items():
        assert column == [one[tensor][0] for one in alone], tensor


@pytest.mark.parametrize("name", SECTIONS)
def test_the_state_hangs_neither_on_pieces_nor_on_the_order_of_rows(name: str) -> None:
    plan, rows = plan_of(name), table(60)
    shuffled = rows.take(np.random.default_rng(3).permutation(rows.num_rows))
    digests = {plan.fit(one).digest for one in (cut(rows), cut(rows, 1, 0, 7, 30), cut(shuffled, 20, 20))}
    assert len(digests) == 1


@pytest.mark.parametrize("name", SECTIONS)
def test_a_state_that_was_stored_prepares_the_same_bits(name: str) -> None:
    plan, rows = plan_of(name), table(40)
    state = plan.fit(cut(rows))
    again = State.from_bytes(state.to_bytes())
    assert again.digest == state.digest
    assert bits(plan_of(name).apply(rows, again)) == bits(plan.apply(rows, state))


@pytest.mark.parametrize("name", SECTIONS)
def test_the_tensors_are_as_they_are_said_to_be(name: str) -> None:
    plan, rows = plan_of(name), table(40)
    state = plan.fit(cut(rows))
    found = plan.apply(rows, state)
    said = plan.tensors(state)
    assert [spec.name for spec in said] == list(found.names)
    for spec in said:
        column = found.columns[spec.name]
        assert isinstance(column, Ragged) == spec.ragged, spec.name
        assert (column.shape if isinstance(column, Ragged) else column.shape[1:]) == spec.shape, spec.name
        assert str(column.dtype) == spec.dtype, spec.name
        values = column.values if isinstance(column, Ragged) else column
        assert np.isfinite(values).all(), spec.name
    for feature in plan.features(state):
        column = found.columns[feature.tensor]
        values = column.values if isinstance(column, Ragged) else column
        if feature.size is not None:
            own = values if feature.column is None else values[:, feature.column]
            assert 0 <= own.min() <= own.max() < feature.size, feature


def test_every_column_of_a_shared_tensor_has_a_feature() -> None:
    plan, rows = plan_of("as usual"), table(40)
    state = plan.fit(cut(rows))
    shapes = {spec.name: spec.shape for spec in plan.tensors(state)}
    for tensor in ("numbers", "categories"):
        columns = [one.column for one in plan.features(state) if one.tensor == tensor]
        assert columns == list(range(shapes[tensor][0]))


def test_rows_of_values_are_prepared_as_a_table_of_them() -> None:
    from tests.unit.preparation.examples import rows as made

    plan, examples = plan_of("as usual"), table(40)
    state = plan.fit(cut(examples))
    assert bits(plan.apply_rows(made(40), state)) == bits(plan.apply(examples, state))


def test_stretches_of_rows_are_those_of_all_and_keep_to_their_limit() -> None:
    plan, rows = plan_of("as usual"), table(200)
    state = plan.fit(cut(rows))
    whole = plan.apply(rows, state)
    parts = list(plan.blocks(rows, state, limit_bytes=whole.nbytes // 20))
    assert bits(Inputs.concat(parts)) == bits(whole)
    assert len(parts) > 10
    assert max(part.nbytes for part in parts[1:]) < 2 * whole.nbytes // 20
    assert bits(Inputs.concat(list(plan.blocks(rows, state)))) == bits(whole)


@pytest.mark.slow
def test_another_process_fits_the_same_state() -> None:
    """No hash of Python's, no order of threads."""
    code = (
        "from tests.unit.preparation.test_every_kind import plan_of, cut\n"
        "from tests.unit.preparation.examples import table\n"
        "print(plan_of('as usual').fit(cut(table(60))).digest)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout.strip() == plan_of("as usual").fit(cut(table(60))).digest
