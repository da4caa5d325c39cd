"""Slices name every row by its columns, or by the user's function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.evaluation.slices import group_rows, slice_labels
from mlratchet.models.metrics.rows import RowOutputs

Classified = Callable[..., RowOutputs]


@pytest.fixture
def rows(classified: Classified) -> RowOutputs:
    n = 60
    return replace(
        classified(n=n),
        columns={"region": ["eu", "us", "eu"] * (n // 3), "device": ["phone", "desk"] * (n // 2)},
    )


def even(rows: RowOutputs) -> list[str]:
    return ["even" if int(i[1:]) % 2 == 0 else "" for i in rows.ids]


def short(rows: RowOutputs) -> list[str]:
    return ["x"]


def test_rows_fall_into_the_slices_of_their_columns(rows: RowOutputs) -> None:
    groups = group_rows(rows, slice_labels(rows, columns=["region"]))
    assert {label: len(part.ids) for label, part in groups.items()} == {"region=eu": 40, "region=us": 20}
    eu = groups["region=eu"]
    places = [rows.ids.index(identity) for identity in eu.ids]
    assert np.array_equal(eu.output, rows.output[places])
    assert np.array_equal(eu.y, rows.y[places])
    assert set(eu.columns["region"]) == {"eu"}
    both = group_rows(rows, slice_labels(rows, columns=["region", "device"]))
    assert sum(len(part.ids) for part in both.values()) == 60
    assert "region=us, device=desk" in both


def test_a_function_may_leave_rows_out(rows: RowOutputs) -> None:
    groups = group_rows(rows, slice_labels(rows, function=f"{__name__}:even"))
    assert {label: len(part.ids) for label, part in groups.items()} == {"even": 30}


def test_unknown_columns_and_functions_are_refused_with_the_nearest_name(rows: RowOutputs) -> None:
    with pytest.raises(ConfigurationError, match="no column 'regio' to slice by; did you mean 'region'"):
        slice_labels(rows, columns=["regio"])
    with pytest.raises(ConfigurationError, match="did you mean 'even'"):
        slice_labels(rows, function=f"{__name__}:evn")
    with pytest.raises(ConfigurationError, match="gave 1 labels, expected 60"):
        slice_labels(rows, function=f"{__name__}:short")
    with pytest.raises(ConfigurationError, match="exactly one"):
        slice_labels(rows)
