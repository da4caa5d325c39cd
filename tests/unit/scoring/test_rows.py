"""Rows of a batch become the tensors that the server makes of the same request, bit by bit; the others are named."""

from __future__ import annotations

import base64
import datetime as dt
import io
import json
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.scoring.in_child import RawRows, scored
from mlratchet.models.scoring.job import RowFormat
from mlratchet.models.scoring.outputs import answer_fields, scores_table
from mlratchet.models.scoring.pieces import handed_back
from mlratchet.models.scoring.reading import raw_pieces
from mlratchet.models.scoring.rows import FittingRows, row_reader
from mlratchet.models.serving.schema import parse_request
from mlratchet.models.sources.pieces import with_places
from mlratchet.models.sources.record import InputSpec, RawObject, Reject
from mlratchet.models.tensors.spec import TensorSpec

from tests.unit.serving.six_schemas import KINDS, Kind, png, predictor_of, predictor_over, wav

TABLE = Signature(
    task="classification", classes=("no", "yes"), ranges=(("a", 0.0, 9.0),),
    input=InputSpec(kind="table", shape=(2,), dtype="float32", columns=("a", "b"), defaults=(("b", 0.5),)),
)  # fmt: skip
PICTURE = Signature(
    task="classification", classes=("no", "yes"),
    input=InputSpec(kind="image", shape=(3, 4, 4), dtype="float32", value_range=(0.0, 1.0)),
)  # fmt: skip
NAMED = Signature(
    task="regression", classes=(),
    input=InputSpec(
        kind="named", shape=(), dtype="float32",
        tensors=(
            TensorSpec(name="user", shape=(), dtype="int64"),
            TensorSpec(name="words", shape=(), dtype="int64", ragged=True),
        ),
    ),
)  # fmt: skip
ONE = Signature(task="regression", classes=(), input=InputSpec(kind="tensor", shape=(2, 2), dtype="float32"))


def read(
    signature: Signature, files: Mapping[str, bytes], form: str, **options: Any
) -> tuple[list[FittingRows], list[Reject]]:
    """What becomes of the rows of some files."""
    objects = [
        RawObject(key=key, size_bytes=len(data), sha256=digest_bytes(data)) for key, data in sorted(files.items())
    ]
    how = RowFormat(format=form, options={"prefix": "in/", "format": form, **options})
    reader = row_reader(signature, how)

    def opened(item: RawObject) -> BinaryIO:
        return io.BytesIO(next(data for data in files.values() if digest_bytes(data) == item.sha256))

    rows: list[FittingRows] = []
    rejects: list[Reject] = []
    for one in raw_pieces(how, objects, opened, needed=reader.needed):
        for found in [one] if isinstance(one, Reject) else reader.read(one.table):
            (rejects if isinstance(found, Reject) else rows).append(found)  # type: ignore[attr-defined]
    return rows, rejects


def assert_as_served(found: FittingRows, instances: list[Any], signature: Signature) -> None:
    """The tensors are those of a request, bit by bit."""
    served = parse_request(json.dumps({"instances": instances}).encode(), signature).arrays()
    mine = found.x.arrays()
    assert set(mine) == set(served)
    for name, array in served.items():
        assert mine[name].dtype == array.dtype
        assert mine[name].tobytes() == array.tobytes(), name


def parquet(columns: Mapping[str, Any]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(dict(columns)), sink)
    return sink.getvalue()


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_kind_of_field_is_prepared_as_the_server_prepares_it(name: str) -> None:
    example, signature = KINDS[name].example, predictor_of(name).signature
    columns = {}
    for field, value in example.items():
        kind = KINDS[name].fields[field]["kind"]
        if kind in ("image", "audio"):
            value = base64.b64decode(value)
        elif kind == "time":
            value = dt.datetime.fromisoformat(value)
        elif kind == "tensor":
            value = np.ravel(value).astype(np.float32).tolist()
        columns[field] = [value, value, value]
    rows, rejects = read(signature, {"rows.parquet": parquet(columns)}, "parquet")
    assert rejects == []
    assert_as_served(rows[0], [example] * 3, signature)
    assert rows[0].ids == rows[0].where == ["rows.parquet:1", "rows.parquet:2", "rows.parquet:3"]
    assert rows[0].y is None  # nothing says a label
    predictor = predictor_of(name)
    served = predictor.answer(parse_request(json.dumps({"instances": [example] * 3}).encode(), signature))
    piece = RawRows(with_places(pa.table(columns), "rows.parquet", 1), None)
    reader = row_reader(signature, RowFormat(format="parquet", options={}))
    handed, rejects = handed_back(scored([piece], reader, predictor.model), signature)
    assert np.abs(handed["output"] - served.output).max() <= 1e-6
    table = scores_table(handed["output"], handed["ids"], handed["where"], signature, 4).to_pylist()
    assert [one["prediction"] for one in table] == [one["class"] for one in served.predictions]
    assert rejects == ()


def test_cells_of_text_are_read_as_a_delivery_is_and_what_breaks_a_rule_is_named() -> None:
    signature = predictor_of("shop").signature
    csv = (
        "key,size,town,note,day,left\n1,3.5,Lund,fine,2026-03-01,yes\n2,300,Lund,x,2026-03-01,no\n"
        "3,1,Oslo,x,,maybe\n4,,Malmö,x,,\n"
    )
    rows, rejects = read(signature, {"a.csv": csv.encode()}, "csv", id_column="key")
    (found,) = rows
    assert (found.ids, found.where) == (["1", "4"], ["a.csv:2", "a.csv:5"])
    assert found.y is not None
    assert found.y[0] == 1.0
    assert np.isnan(found.y[1])
    assert [(one.where, one.field, one.code) for one in rejects] == [
        ("a.csv:3", "size", "above_maximum"), ("a.csv:4", "town", "unknown_value"),
    ]  # fmt: skip
    first = {"size": 3.5, "town": "Lund", "note": "fine", "day": "2026-03-01T00:00:00Z"}
    assert_as_served(found, [first, {"town": "Malmö", "note": "x"}], signature)


def test_a_table_of_numbers_takes_defaults_and_ranges_of_the_server() -> None:
    rows, rejects = read(TABLE, {"a.csv": b"a,label\n1.1,yes\n12,no\nx,no\n", "b.csv": b"b,a\n2,3\n"}, "csv")
    assert [one.where for one in rows] == [["a.csv:2"], ["b.csv:2"]]
    assert_as_served(rows[0], [{"a": 1.1}], TABLE)
    assert rows[0].y is not None
    assert rows[0].y.tolist() == [1.0]
    assert [(one.where, one.field, one.code) for one in rejects] == [
        ("a.csv:4", "a", "not_a_number"), ("a.csv:3", "a", "unfit_value"),
    ]  # fmt: skip


def test_named_tensors_and_one_without_a_name_come_as_columns() -> None:
    data = parquet({"user": [3, 4], "words": [[7, 2], [9]]})
    rows, _ = read(NAMED, {"a.parquet": data}, "parquet")
    assert_as_served(rows[0], [{"user": 3, "words": [7, 2]}, {"user": 4, "words": [9]}], NAMED)
    rows, rejects = read(ONE, {"a.parquet": parquet({"x": [[[1.0, 2.0], [3.0, 4.0]], [[1.0], [2.0]]]})}, "parquet")
    assert_as_served(rows[0], [[[1.0, 2.0], [3.0, 4.0]]], ONE)
    assert [(one.where, one.code) for one in rejects] == [("a.parquet:2", "unfit_value")]


def test_pictures_need_no_table_of_labels_and_no_folder() -> None:
    files = {"one.png": png(), "yes/two.png": png(grey=10), "broken.png": b"no picture"}
    for form in ("image_folder", "images"):
        rows, rejects = read(PICTURE, files, form)
        assert [place for one in rows for place in one.where] == ["one.png", "yes/two.png"]
        sent = [{"image_base64": base64.b64encode(files[place]).decode()} for place in ("one.png", "yes/two.png")]
        assert_as_served(rows[0], sent, PICTURE)
        assert [one.where for one in rejects] == ["broken.png"]
        assert "@/" not in rejects[0].reason
    rows, rejects = read(PICTURE, {**files, "labels.csv": b"file\none.png\nyes/two.png\n"}, "images")
    assert [place for one in rows for place in one.ids] == ["one.png", "yes/two.png"]
    assert [one.code for one in rejects] == ["no_label"]  # `broken.png` has no row


def test_sounds_need_no_folder() -> None:
    example = {"sound": base64.b64encode(wav()).decode()}
    signature = predictor_over(Kind(fields={"sound": {"kind": "audio"}}, example=example)).signature
    rows, rejects = read(signature, {"a.wav": wav(), "b.txt": b"x"}, "audio_folder")
    assert rows[0].where == ["a.wav"]
    assert_as_served(rows[0], [example], signature)
    assert [(one.where, one.code) for one in rejects] == [("b.txt", "not_a_sound")]


def test_a_file_that_nobody_can_read_is_set_aside_alone() -> None:
    files = {"a.csv": b"a,b\n1,2\n", "b.csv": b"b\n1\n2\n", "readme.md": b"#", "c.csv": b"a,b\n1,2,3\n4,5\n"}
    with pytest.raises(Exception, match="column 'a' is missing"):
        read(TABLE, files, "csv")  # whoever reads in a child sets the table aside (`in_child`)
    rows, rejects = read(TABLE, {name: data for name, data in files.items() if name != "b.csv"}, "csv")
    assert [place for one in rows for place in one.where] == ["a.csv:2", "c.csv:3"]
    assert sorted((one.where, one.code) for one in rejects) == [
        ("c.csv:2", "ragged_row"),
        ("readme.md", "unreadable_file"),
    ]


@pytest.mark.parametrize(
    ("task", "classes", "output", "expected"),
    [
        ("regression", (), [[1.5], [2.5]], {"prediction": 1.5}),
        ("ranking", (), [0.5, 0.25], {"prediction": 0.5}),
        ("multi_label", ("a", "b"), [[9.0, -9.0], [9.0, 9.0]], {"prediction": ["a"]}),
        ("classification", ("a", "b"), [[0.0, 9.0], [9.0, 0.0]], {"prediction": "b"}),
    ],
)
def test_scores_are_named_as_the_objective_answers(
    task: str, classes: tuple[str, ...], output: Any, expected: dict[str, Any]
) -> None:
    signature = Signature(task=task, classes=classes, input=ONE.input)
    table = scores_table(np.asarray(output, np.float32), ["r1", "r2"], ["a.csv:2", "b.png"], signature, 4)
    first, second = table.to_pylist()
    assert first | expected == first
    assert (first["id"], first["version"], first["file"], first["row"]) == ("r1", 4, "a.csv", 2)
    assert (second["file"], second["row"]) == ("b.png", None)
    assert table.schema.names[-3:] == ["version", "file", "row"]


def test_answers_of_a_users_own_objective_keep_their_names() -> None:
    fields = answer_fields({"low": {"type": "number"}, "id": {"type": "string"}, "boxes": {"type": "array"}})
    assert fields == {
        "low": ("low", pa.float64()), "id": ("answer_id", pa.string()), "boxes": ("boxes", pa.string()),
    }  # fmt: skip
    assert answer_fields({"count": {"type": "integer"}}) == {"count": ("prediction", pa.int64())}
