"""Tasks beyond one class and one number: several labels of a record, and rankings within a group."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import numpy as np
import pytest
import torch
from mlratchet.models.artifact.signature import signature_of
from mlratchet.models.config import WorkloadRef
from mlratchet.models.errors import DataError
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.ports.memory import ObjectsInMemory
from mlratchet.models.sources.record import GROUP_COLUMN, RawObject, Record, Reject, inputs_of
from mlratchet.models.sources.stored_examples import EXAMPLE
from mlratchet.models.tensors.batch import asked_by_name, batch_of
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.rehearsal import rehearse
from mlratchet.models.workloads.fields import SchemaWorkload
from mlratchet.models.workloads.guarded import guarded_records
from mlratchet.models.workloads.prepared import fit_away

USE = "mlratchet.models.workloads.fields:SchemaWorkload"
TAGS: dict[str, Any] = {
    "label": "tags",
    "fields": {
        "size": {"kind": "number"},
        "tags": {"kind": "category", "values": ["red", "big"], "several": True, "nullable": True},
    },
}
COLUMNS: dict[str, Any] = {
    "labels": ["red", "big"],
    "fields": {
        "size": {"kind": "number"},
        "red": {"kind": "number"},
        "big": {"kind": "category", "values": ["n", "y"]},
    },
}  # fmt: skip
RATINGS: dict[str, Any] = {
    "label": "rating", "group": "user", "time": "time",
    "fields": {
        "user": {"kind": "entity"}, "item": {"kind": "entity"}, "rating": {"kind": "number"},
        "time": {"kind": "time", "format": "unix", "input": False},
    },
}  # fmt: skip
CSV = {"prefix": "p/", "format": "csv"}


def read(schema: dict[str, Any], text: str, source: dict[str, Any] = CSV, **more: Any) -> list[Record | Reject]:
    data = text.encode()
    item = RawObject(key="rows.csv", size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    return list(guarded_records(SchemaWorkload(schema=schema, **more), [item], lambda _: data, source))


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        (TAGS, "size,tags\n1,red|big\n2,big\n3,\n4,pink\n"),
        (COLUMNS, "size,red,big\n1,1,y\n2,0,y\n3,0,n\n4,3,n\n"),
    ],
    ids=["in a cell", "a column each"],
)
def test_several_labels_are_read_learnt_and_answered_by_name(schema: dict[str, Any], text: str) -> None:
    found = read(schema, text)
    assert [one.y for one in found if isinstance(one, Record)] == [(1.0, 1.0), (0.0, 1.0), (0.0, 0.0)]
    assert [one.code for one in found if isinstance(one, Reject)] == ["unknown_label"]
    workload = SchemaWorkload(schema=schema)
    assert (workload.objective.name, workload.class_names()) == ("multi_label", ("red", "big"))
    examples = [json.loads(bytes(one.x[EXAMPLE])) for one in found if isinstance(one, Record)]  # type: ignore[index]
    assert examples == [{"size": 1.0}, {"size": 2.0}, {"size": 3.0}]  # no label in what a client would send


@pytest.mark.parametrize(
    ("schema", "more"),
    [
        (TAGS, {}),
        (COLUMNS, {}),
        (RATINGS, {"task": "ranking"}),
        (RATINGS, {"task": "ranking", "model": "dlrm"}),
        (RATINGS, {}),
    ],
)
def test_every_task_is_rehearsed_before_there_are_rows(schema: dict[str, Any], more: dict[str, Any]) -> None:
    ref = WorkloadRef(use=USE, parameters={"schema": schema, "hidden": [8], "width": 8, **more})
    train = TrainConfig.model_validate(
        {"epochs": 1, "global_batch_size": 8, "optimizer": {"name": "adamw", "learning_rate": 0.01}}
    )
    assert rehearse(ObjectsInMemory("rehearsal"), ref, train, world=1).problem == ""


def rated() -> str:
    rows = [
        f"u{user},i{item},{1 + (user + item) % 5},{1_000_000 + user * 100 + item}"
        for user in range(12)
        for item in range(12)
    ]
    return "\n".join(["user,item,rating,time", *rows, ""])


def test_a_ranking_s_rows_name_their_query_and_are_scored_per_user() -> None:
    found = read(RATINGS, rated(), task="ranking")
    records = [one for one in found if isinstance(one, Record)]
    assert (
        {one.group for one in records} == {one.columns[GROUP_COLUMN] for one in records} == {f"u{n}" for n in range(12)}
    )
    parameters = {"schema": RATINGS, "task": "ranking", "width": 8}
    examples = inputs_of(records, SchemaWorkload(**parameters).tensors())
    state, prepared = fit_away(WorkloadRef(use=USE, parameters=parameters), {"train": [lambda: examples]})
    workload = SchemaWorkload(**parameters, fitted=base64.b64encode(state).decode())
    asked = asked_by_name(workload.prepared_model().eval(), workload.tensors())
    with torch.inference_mode():
        scores = asked(batch_of(prepared["train"][0])).numpy().reshape(-1)
    y = np.asarray([one.y for one in records], dtype=np.float32)
    rows = RowOutputs(
        ids=[one.id for one in records],
        y=y,
        output=scores,
        columns={GROUP_COLUMN: [one.group or "" for one in records]},
    )
    ndcg = next(one for one in workload.objective.metrics(()) if one.name == "ndcg_at_10")
    assert 0 < ndcg.estimate(rows).value < 1
    assert ndcg.estimate(RowOutputs(ids=rows.ids, y=y, output=y, columns=rows.columns)).value == pytest.approx(1)
    assert signature_of(workload).task == "ranking"


def test_a_relevance_below_zero_and_a_ranking_without_queries_are_refused() -> None:
    below = read(RATINGS, "user,item,rating,time\nu,i,-1,5\nu,j,2,6\n", task="ranking")
    assert [(one.code, one.reason) for one in below if isinstance(one, Reject)] == [
        ("bad_target", "rows.csv:2: target: got -1, expected a relevance of 0 or more")
    ]
    alone = {name: value for name, value in RATINGS.items() if name != "group"}
    with pytest.raises(DataError, match=r"needs the query of every row; name its column in schema.group"):
        read(alone, rated(), task="ranking")


@pytest.mark.parametrize(("schema", "words"), [(TAGS, "schema.label is none"), (COLUMNS, "schema.labels is none")])
def test_a_ranking_learns_a_number(schema: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SchemaWorkload(schema=schema, task="ranking")
