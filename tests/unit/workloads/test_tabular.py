"""Tables of unknown dialect: usable rows become records, the others say why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mlratchet.models.data.config import SourceConfig
from mlratchet.models.errors import ConfigurationError, DataError
from mlratchet.models.sources.record import RawObject, Record, Reject
from mlratchet.models.workloads.loading import load_workload
from mlratchet.models.workloads.tabular import TableClassifier, TableRegressor

Read = Callable[..., tuple[list[Record], list[Reject]]]


@pytest.fixture
def read() -> Read:
    def make(*files: bytes | str, workload: Any = None, **source: Any) -> Any:
        tables = {f"{n}.csv": f if isinstance(f, bytes) else f.encode() for n, f in enumerate(files)}
        objects = [RawObject(key=k, size_bytes=len(v), sha256="") for k, v in tables.items()]
        chosen = workload or TableClassifier(columns=["a", "b"], classes=["no", "yes"])
        settings = SourceConfig(prefix="t/", **source).model_dump()
        found = list(chosen.records(objects, lambda item: tables[item.key], settings))
        return [f for f in found if isinstance(f, Record)], [f for f in found if isinstance(f, Reject)]

    return make


@pytest.mark.parametrize(
    "text",
    [
        "a,b,label\n1.5,2,yes\n3,-4e1,no\n",
        "label;b;a\r\nyes;2;1,5\r\nno;-4e1;3\r\n",
        "\ufeffa\tb\tlabel\n1.5\t2\tyes\n3\t-40\tno\n",
        '"a"|"b"|"label"\n"1.5"|"2"|"yes"\n"3"|"-40"|"no"\n',
    ],
)
def test_dialects_mean_the_same(read: Read, text: str) -> None:
    records, rejects = read(text)
    assert rejects == []
    assert [(r.x.tolist(), r.y) for r in records] == [([1.5, 2.0], 1), ([3.0, -40.0], 0)]
    assert records[0].x.dtype == np.float32


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("1,,yes", "missing_value"),
        ("1,x,yes", "not_a_number"),
        ("nan,1,yes", "non_finite"),
        ("1,inf,yes", "non_finite"),
        ("1,1e39,yes", "overflow"),
        ("1,2,maybe", "unknown_label"),
        ("1,2,", "missing_label"),
        ("1,2", "ragged_row"),
    ],
)
def test_a_bad_row_is_set_aside_with_place_and_reason(read: Read, row: str, code: str) -> None:
    records, rejects = read(f"a,b,label\n1,2,yes\n{row}\n")
    assert len(records) == 1
    assert [(r.code, r.where) for r in rejects] == [(code, "0.csv:3")]
    assert "0.csv:3" in rejects[0].reason


def test_all_tables_of_a_delivery_are_read(read: Read) -> None:
    records, _ = read("a,b,label\n1,2,yes\n", "label,a,b\nno,3,4\n")
    assert [r.x.tolist() for r in records] == [[1, 2], [3, 4]]


def test_equal_rows_stay_on_one_side_and_a_relabelled_row_keeps_its_id(read: Read) -> None:
    records, _ = read("a,b,label\n1,2,yes\n1,2,no\n5,6,no\n")
    assert len({r.id for r in records}) == 3
    assert records[0].group == records[1].group != records[2].group
    relabelled, _ = read("a,b,label\n1,2,no\n")
    assert relabelled[0].id == records[0].id


def test_named_ids_groups_and_slice_columns(read: Read) -> None:
    records, _ = read(
        "key,who,region,a,b,label\nk1,u1,eu,1,2,yes\n", id_column="key", group_column="who", label_column="label"
    )
    assert (records[0].id, records[0].group, records[0].columns["region"]) == ("k1", "u1", "eu")


def test_a_missing_column_is_named_with_the_nearest(read: Read) -> None:
    with pytest.raises(DataError, match="column 'label' is missing; got a, b, lable; did you mean 'lable'"):
        read("a,b,lable\n1,2,yes\n")
    with pytest.raises(DataError, match="no table"):
        list(
            TableClassifier(columns=["a"], classes=["x", "y"]).records(
                [], lambda _: b"", SourceConfig(prefix="t/").model_dump()
            )
        )


def test_regression_targets(read: Read) -> None:
    workload = TableRegressor(columns=["a"])
    records, rejects = read("a;label\n1;2,5\n1;x\n1;inf\n", workload=workload)
    assert [r.y for r in records] == [2.5]
    assert [r.code for r in rejects] == ["unknown_label", "unknown_label"]
    assert workload.build_model()(torch.zeros(3, 1)).shape == (3, 1)
    assert workload.class_names() == ()


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"columns": [], "classes": ["a", "b"]}, "one or more different names"),
        ({"columns": ["a", "a"], "classes": ["a", "b"]}, "one or more different names"),
        ({"columns": ["a"], "classes": ["a"]}, "two or more different names"),
        ({"columns": ["a"], "classes": ["a", "b"], "hidden": 0}, "hidden must be at least 1"),
        ({"column": ["a"]}, "did you mean 'columns'"),
    ],
)
def test_wrong_parameters_are_refused(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        load_workload("mlratchet.models.workloads.tabular:TableClassifier", parameters)


def test_equal_rows_keep_their_names_whatever_the_order_of_files_and_classes(read: Read) -> None:
    """Else a bootstrap draws other rows, and a number moves in the fourth digit."""
    rows = ["1,2,yes", "1,2,no", "1,2,no", "3,4,yes"]

    def named(lines: list[str], classes: list[str]) -> set[tuple[str, str]]:
        workload = TableClassifier(columns=["a", "b"], classes=classes)
        records, _ = read("\n".join(["a,b,label", *lines]) + "\n", workload=workload)
        return {(record.id, classes[int(record.y)]) for record in records}  # type: ignore[arg-type]

    assert named(rows, ["no", "yes"]) == named(rows[::-1], ["yes", "no"])
