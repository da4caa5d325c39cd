"""Tensors that an example brings along, as they are or scaled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from mlratchet.models.errors import DataError
from mlratchet.models.preparation.arrays import TensorOptions, TensorPreparation
from mlratchet.models.schema.fields import Field

VALUES = np.random.default_rng(0).normal(5, 3, (30, 6)).astype(np.float32)
VALUES[:, 4] = 2.5


def table(rows: list[Any]) -> pa.Table:
    return pa.table({"p": pa.array(rows, pa.list_(pa.float32(), 6))})


def prepared(scale: str, rows: list[Any], **field: Any) -> Any:
    one = TensorPreparation({"p": Field(kind="tensor", shape=(2, 3), **field)}, TensorOptions(scale=scale))
    return one.apply(table(rows), one.fit(lambda: iter([table(VALUES.tolist())]))).array


def test_a_tensor_is_itself() -> None:
    assert (prepared("none", VALUES.tolist()) == VALUES.reshape(-1, 2, 3)).all()


def test_each_place_has_mean_0_and_deviation_1_and_a_constant_one_is_0() -> None:
    found = prepared("standard", VALUES.tolist()).reshape(-1, 6)
    wide = VALUES.astype(np.float64)
    with np.errstate(invalid="ignore"):
        expected = np.nan_to_num(
            (wide - wide.mean(axis=0)) / np.where(wide.std(axis=0) > 1e-9, wide.std(axis=0), np.inf)
        )
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("scale", ["none", "standard"])
def test_no_tensor_is_0(scale: str) -> None:
    assert (prepared(scale, [None, VALUES[0].tolist()], nullable=True)[0] == 0).all()


def test_a_tensor_that_lacks_where_none_may_is_refused() -> None:
    with pytest.raises(DataError, match="example 1: field 'p' is not given"):
        prepared("none", [VALUES[0].tolist(), None])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_a_place_that_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(DataError, match="example 0: tensor 'p' holds NaN or infinity"):
        prepared("standard", [[1.0, 2.0, 3.0, 4.0, 5.0, value]], nullable=True)
