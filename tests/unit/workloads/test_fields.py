"""A workload over a schema: examples as they are delivered become records, tensors, a network and an answer."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from mlratchet.models.artifact.signature import Signature, signature_of
from mlratchet.models.config import WorkloadRef
from mlratchet.models.errors import DataError
from mlratchet.models.ports.memory import ObjectsInMemory
from mlratchet.models.serving.refusal import BadRequestError
from mlratchet.models.serving.schema import parse_request
from mlratchet.models.sources.record import RawObject, Record, Reject, inputs_of
from mlratchet.models.sources.stored_examples import EXAMPLE, documents_of
from mlratchet.models.tensors.batch import asked_by_name, batch_of, export_program, program_model
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.rehearsal import rehearse
from mlratchet.models.workloads.examples import preparer_of
from mlratchet.models.workloads.fields import SchemaWorkload
from mlratchet.models.workloads.loading import load_workload
from mlratchet.models.workloads.prepared import fit_away, prepare_away

from tests.left_out import most_slow

USE = "mlratchet.models.workloads.fields:SchemaWorkload"
FIELDS: dict[str, Any] = {
    "colour": {"kind": "category", "nullable": True},
    "size": {"kind": "number", "nullable": True, "decimal": ","},
    "day": {"kind": "time", "format": "%d.%m.%Y"},
    "note": {"kind": "text", "nullable": True},
}
SCHEMA: dict[str, Any] = {
    "label": "bought", "id": "order", "fields": {**FIELDS, "bought": {"kind": "category", "values": ["no", "yes"]}},
}  # fmt: skip
SOURCE = {"prefix": "shop/", "format": "csv", "id_column": "order", "label_column": "bought"}
LINES = [
    "order,colour,size,day,note,bought",
    *(
        f'o{i},{("red", "blue", "")[i % 3]},"{i % 7},5",{i % 27 + 1:02d}.03.2026,{("good", "bad")[i % 2]} thing,'
        f"{('yes', 'no')[i % 2]}"
        for i in range(60)
    ),
]


def read(workload: SchemaWorkload, lines: list[str], source: Mapping[str, Any] = SOURCE) -> list[Record | Reject]:
    data = "\n".join(lines).encode()
    item = RawObject(key="shop.csv", size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    return list(workload.records([item], lambda _: data, source))


def rows(parameters: dict[str, Any]) -> tuple[Inputs, list[Record]]:
    workload = load_workload(USE, parameters)
    assert isinstance(workload, SchemaWorkload)
    found = [one for one in read(workload, LINES) if isinstance(one, Record)]
    return inputs_of(found, workload.tensors()), found


@pytest.fixture(scope="module")
def fitted() -> tuple[dict[str, Any], Inputs, Inputs]:
    """Parameters with what the preparation was fitted to, the examples, and their tensors."""
    parameters = {"schema": SCHEMA, "hidden": [16]}
    examples, _ = rows(parameters)
    state, found = fit_away(WorkloadRef(use=USE, parameters=parameters), {"train": [lambda: examples]})
    return {**parameters, "fitted": base64.b64encode(state).decode()}, examples, found["train"][0]


def test_a_record_holds_its_example_as_a_client_sends_it() -> None:
    examples, records = rows({"schema": SCHEMA})
    assert len(records) == 60
    first = documents_of(examples)[0]
    assert first == {"colour": "red", "size": 0.5, "day": "2026-03-01T00:00:00Z", "note": "good thing"}
    assert (records[0].id, records[0].y, records[0].columns) == ("o0", 1, {"colour": "red"})
    assert "size" in records[0].row_columns
    assert "bought" not in records[0].row_columns


@pytest.mark.parametrize(
    ("line", "rule", "words"),
    [
        ('x1,red,"zwölf",01.03.2026,a,yes', "not_a_number", "column 'size'"),
        ('x1,red,"1,5",soon,a,yes', "not_a_time", "column 'day'"),
        ('x1,red,"1,5",01.03.2026,a,perhaps', "unknown_label", "label 'bought'"),
        ('x1,red,"1,5",01.03.2026,a,', "missing_label", "label 'bought'"),
    ],
)
def test_a_row_that_breaks_a_rule_is_set_aside_with_its_field(line: str, rule: str, words: str) -> None:
    found = read(SchemaWorkload(schema=SCHEMA), [*LINES, line])
    (reject,) = [one for one in found if isinstance(one, Reject)]
    assert (reject.where, reject.code) == ("shop.csv:62", rule)
    assert words in reject.reason
    assert len(found) == 61


def test_without_an_id_rows_are_named_by_their_raw_cells_and_a_new_column_moves_nobody() -> None:
    fields = {name: one for name, one in SCHEMA["fields"].items() if name != "note"}
    source = {name: one for name, one in SOURCE.items() if name != "id_column"}
    source |= {"identity_columns": ["colour", "day", "order", "size"]}
    with_note = read(SchemaWorkload(schema={"label": "bought", "fields": SCHEMA["fields"]}), LINES, source)
    without = read(SchemaWorkload(schema={"label": "bought", "fields": fields}), LINES, source)
    assert [one.id for one in with_note] == [one.id for one in without]  # type: ignore[union-attr]
    assert len({one.id for one in without}) == 60  # type: ignore[union-attr]


def test_a_client_s_example_becomes_the_very_tensors_that_trained(
    fitted: tuple[dict[str, Any], Inputs, Inputs],
) -> None:
    parameters, examples, prepared = fitted
    signature = Signature.from_json(signature_of(load_workload(USE, parameters)).to_json())
    sent = documents_of(examples)
    answered = parse_request(json.dumps({"instances": sent}).encode(), signature)
    about = signature.input.example
    assert about is not None
    for other in (
        answered,
        prepare_away(about, examples),
        preparer_of(about).prepared_examples(examples),
    ):
        assert set(other.names) == set(prepared.names)
        for name, column in prepared.arrays().items():
            assert np.array_equal(other.arrays()[name], column), name


@pytest.mark.parametrize(
    ("example", "field"),
    [
        ({"day": "2026-03-01T00:00:00Z", "size": "1"}, "instances[0].size"),
        ({"size": 1.0}, "instances[0].day"),
        ({"day": "soon"}, "instances[0].day"),
        ({"day": "2026-03-01T00:00:00Z", "colur": "red"}, "instances[0].colur"),
    ],
)
def test_a_wrong_example_is_refused_with_its_field(
    fitted: tuple[dict[str, Any], Inputs, Inputs], example: dict[str, Any], field: str
) -> None:
    signature = signature_of(load_workload(USE, fitted[0]))
    with pytest.raises(BadRequestError) as refused:
        parse_request(json.dumps({"instances": [example]}).encode(), signature)
    assert (refused.value.field, refused.value.status) == (field, 422)


def test_its_program_answers_as_its_network(fitted: tuple[dict[str, Any], Inputs, Inputs]) -> None:
    parameters, _, prepared = fitted
    workload = load_workload(USE, parameters)
    module = workload.prepared_model().eval()
    program = program_model(export_program(module, batch_of(prepared.rows(slice(2))), workload.tensors()))
    asked = asked_by_name(module, workload.tensors())
    with torch.inference_mode():
        for count in (1, 2, 7):
            batch = batch_of(prepared.rows(slice(count)))
            assert torch.allclose(program(batch), asked(batch), atol=1e-6)


def test_a_version_with_another_state_prepares_otherwise(fitted: tuple[dict[str, Any], Inputs, Inputs]) -> None:
    parameters, examples, prepared = fitted
    half = examples.rows(slice(20))
    state, _ = fit_away(WorkloadRef(use=USE, parameters={"schema": SCHEMA}), {"train": [lambda: half]})
    other = load_workload(USE, {**parameters, "fitted": base64.b64encode(state).decode()}).input_spec().example
    assert other is not None
    assert not np.array_equal(prepare_away(other, examples).columns["numbers"], prepared.columns["numbers"])


EVERY_KIND: dict[str, Any] = {
    "number": {"kind": "number", "minimum": 2, "maximum": 5}, "category": {"kind": "category", "values": ["a", "b"]},
    "text": {"kind": "text"}, "letters": {"kind": "letters", "alphabet": "dna"}, "time": {"kind": "time"},
    "entity": {"kind": "entity"}, "image": {"kind": "image"}, "tensor": {"kind": "tensor", "shape": [2, 3]},
    "audio": {"kind": "audio"},
}  # fmt: skip


@pytest.mark.parametrize("label", ["class", pytest.param("amount", marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", most_slow(EVERY_KIND, keep=3))
def test_every_kind_of_field_is_rehearsed_before_there_are_rows(kind: str, label: str) -> None:
    learnt = {"kind": "category", "values": ["x", "y"]} if label == "class" else {"kind": "number"}
    schema = {"label": label, "fields": {kind: EVERY_KIND[kind], label: learnt}}
    ref = WorkloadRef(use=USE, parameters={"schema": schema, "hidden": [8], "width": 8})
    train = TrainConfig.model_validate(
        {"epochs": 1, "global_batch_size": 8, "optimizer": {"name": "adamw", "learning_rate": 0.01}}
    )
    assert rehearse(ObjectsInMemory("rehearsal"), ref, train, world=1).problem == ""


def test_a_number_that_is_learnt_is_answered_in_its_unit() -> None:
    schema = {"label": "price", "fields": {"size": {"kind": "number"}, "price": {"kind": "number"}}}
    workload = SchemaWorkload(schema=schema)
    examples = Inputs({EXAMPLE: inputs_of(list(_sizes()), workload.tensors()).columns[EXAMPLE]})
    state, found = fit_away(WorkloadRef(use=USE, parameters={"schema": schema}), {"train": [lambda: examples]})
    made = SchemaWorkload(schema=schema, fitted=base64.b64encode(state).decode())
    module = made.prepared_model()
    made.fit_preparation(module, found["train"][0], np.asarray([1000.0, 3000.0] * 20, dtype=np.float32))
    with torch.inference_mode():
        answers = module.eval()(batch_of(found["train"][0]))
    assert 0 < float(answers.mean()) < 4000
    assert made.task == "regression"
    assert made.class_names() == ()


def _sizes() -> Iterator[Record]:
    for at in range(40):
        data = json.dumps({"size": float(at)}).encode()
        yield Record(id=str(at), x={EXAMPLE: np.frombuffer(data, dtype=np.uint8)}, y=float(at))


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"fields": {"a": {"kind": "number"}}}, "schema.label: nothing is learnt"),
        ({"label": "a", "fields": {"a": {"kind": "text"}, "b": {"kind": "number"}}}, "expected category or number"),
        ({"label": "a", "fields": {"a": {"kind": "category"}, "b": {"kind": "number"}}}, "list two or more"),
    ],
)
def test_a_schema_from_which_nothing_can_be_learnt_is_refused(schema: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SchemaWorkload(schema=schema)


def test_before_it_is_fitted_there_is_no_network() -> None:
    with pytest.raises(DataError, match="is not fitted"):
        SchemaWorkload(schema=SCHEMA).build_model()


def test_the_source_selects_rows_and_the_folder_says_the_label_that_the_schema_names() -> None:
    selected = read(SchemaWorkload(schema=SCHEMA), LINES, {**SOURCE, "select": {"rows": "colour == 'red'"}})
    assert {one.columns["colour"] for one in selected if isinstance(one, Record)} == {"red"}
    schema = {
        "label": "kind",
        "fields": {"sequence": {"kind": "letters"}, "kind": {"kind": "category", "values": ["a", "b"]}},
    }
    data = b">one\nACGT\n"
    items = [RawObject(key=f"{kind}/x.fasta", size_bytes=len(data), sha256="0" * 64) for kind in "ab"]
    source = {"prefix": "x/", "format": "fasta", "label_from": "folder"}
    found = list(SchemaWorkload(schema=schema).records(items, lambda _: data, source))
    assert [(one.id, one.y) for one in found if isinstance(one, Record)] == [("one", 0), ("one", 1)]


def test_no_hidden_layer_is_a_wish_and_not_the_default() -> None:
    assert SchemaWorkload(schema=SCHEMA, hidden=[]).options.hidden == ()
    assert SchemaWorkload(schema=SCHEMA).options.hidden == (128, 64)
