"""What a child hands over is held against what records are, before anybody looks at a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mlratchet.models.ports.children import ForeignCodeError
from mlratchet.models.ports.memory import ObjectsInMemory
from mlratchet.models.sources.record import InputSpec, Record, Reject, Remark
from mlratchet.models.sources.record_table import RecordPiece, packed, read_one_by_one
from mlratchet.models.workloads.handed_over import handed_back, to_hand_back
from safetensors.numpy import load, save

SPEC = InputSpec(kind="table", shape=(2,), dtype="float32")
RECORDS = [
    Record(
        id=f"r{n}", x=np.full(2, n, np.float32), y=n, group=None if n else "g", columns={"é": "ü"} if n else {},
        remarks=(Remark(code="c", words="w"),) if n == 1 else (), row_columns=("a",), where=f"f:{n}",
    )
    for n in range(3)
]  # fmt: skip
PIECE = RecordPiece(table=packed(RECORDS), rejects=((1, Reject(where="f:9", code="c", reason="r")),))


def back(data: bytes, spec: InputSpec = SPEC, classes: Sequence[str] = ()) -> RecordPiece:
    lent = ObjectsInMemory()
    lent.put("out/d", data)
    return handed_back(lent, "d", spec, classes)


def test_a_piece_comes_as_it_was_read() -> None:
    first, aside, *others = read_one_by_one([back(to_hand_back(PIECE))])
    assert aside == PIECE.rejects[0][1]
    for one, expected in zip([first, *others], RECORDS, strict=True):
        assert isinstance(one, Record)
        assert {**vars(one), "x": one.x.tolist()} == {**vars(expected), "x": expected.x.tolist()}  # type: ignore[union-attr]  # an array
    only = RecordPiece(table=None, rejects=PIECE.rejects)
    assert back(to_hand_back(only)) == only


def changed(**arrays: Any) -> bytes:
    return save({**load(to_hand_back(PIECE)), **arrays})


@pytest.mark.parametrize(
    "arrays",
    [
        {"e:id": np.asarray([0, 2, 4, 9], np.int32)},
        {"e:id": np.asarray([0, 4, 2, 6], np.int32)},
        {"e:id": np.asarray([0, 2, 6], np.int32)},
        {"v:id": np.asarray([255] * 6, np.uint8)},
        {"v:row_columns": np.asarray([0, 0, 1], np.int32)},
        {"v:row_columns": np.asarray([0, 0], np.int32)},
        {"v:y": np.asarray([0, 1, 2], np.int32)},
        {"v:x.x": np.zeros(23, np.uint8)},
        {"g:id": np.asarray([1, 0, 1], np.uint8)},
        {"g:group": np.asarray([1, 0], np.uint8)},
        {"words": np.frombuffer(b"{}", np.uint8)},
        {"words": np.frombuffer(b'{"rejects": [], "columns": {"id": "string"}, "about": "{}"}', np.uint8)},
        {"words": np.frombuffer(b'{"rejects": [[0, {"where": 1}]]}', np.uint8)},
    ],
    ids=str,
)
def test_what_are_no_records_is_refused(arrays: dict[str, Any]) -> None:
    with pytest.raises(ForeignCodeError, match="records: "):
        back(changed(**arrays))


def test_inputs_of_another_shape_or_type_are_refused() -> None:
    with pytest.raises(ForeignCodeError, match="records: "):
        back(to_hand_back(PIECE), InputSpec(kind="table", shape=(3,), dtype="float32"))
    with pytest.raises(ForeignCodeError, match="records: "):
        back(to_hand_back(PIECE), InputSpec(kind="table", shape=(2,), dtype="int64"))
    with pytest.raises(ForeignCodeError, match="records: "):
        back(b"no tensors")


def test_a_target_names_a_class_or_is_a_finite_number() -> None:
    assert back(to_hand_back(PIECE), classes="abc").table is not None
    with pytest.raises(ForeignCodeError, match="a target of 0 to 2, expected the index of one of 2 classes"):
        back(to_hand_back(PIECE), classes="ab")
    endless = RecordPiece(table=packed([replace(RECORDS[0], y=float("inf"))]))
    with pytest.raises(ForeignCodeError, match="a target is no finite number"):
        back(to_hand_back(endless))
