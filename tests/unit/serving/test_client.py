"""What `ratchet predict` makes of files, and of what a server answers."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlratchet.infra.serving import client
from mlratchet.infra.serving.client import AT_ONCE, predict_files, takes_of
from mlratchet.infra.serving.client_files import TableWriting, Takes, instances_of, number
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.errors import ConfigurationError, DataError, InfrastructureError
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.schema.fields import Schema
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.openapi import openapi
from mlratchet.models.serving.slot import Slot
from mlratchet.models.sources.record import ExampleSpec, InputSpec
from starlette.testclient import TestClient

from tests.unit.serving.conftest import IMAGE, TABLE, sum_of


def test_a_json_file_is_the_instance_and_an_image_travels_as_base64(tmp_path: Path) -> None:
    (tmp_path / "row.json").write_text('{"x0": 1.5}')
    (tmp_path / "rows.json").write_text('{"instances": [[1], [2]]}')
    (tmp_path / "image.png").write_bytes(b"\x89PNG")
    assert instances_of(tmp_path / "row.json", Takes()) == [(str(tmp_path / "row.json"), {"x0": 1.5})]
    assert [one for _, one in instances_of(tmp_path / "rows.json", Takes())] == [[1], [2]]
    encoded = {"image_base64": base64.b64encode(b"\x89PNG").decode()}
    assert instances_of(tmp_path / "image.png", Takes(file="image_base64")) == [(str(tmp_path / "image.png"), encoded)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_rows_of_a_table_are_read_by_the_models_columns(tmp_path: Path, delimiter: str) -> None:
    file = tmp_path / "rows.csv"
    rows = [["id", "b", "label", "a"], ["7", "2", "yes", '"1.5"'], [], ["8", "", "no", "-3e2"]]
    file.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(delimiter.join(row) for row in rows).encode())
    assert instances_of(file, Takes(columns=("a", "b"))) == [
        (f"{file}:2", {"a": 1.5, "b": 2}),
        (f"{file}:4", {"a": -300.0}),  # the server knows a default of b, or says that it is missing
    ]


def test_a_line_of_a_jsonl_file_is_an_instance_by_the_models_columns(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"id": "r1", "b": null, "note": "so, so", "a": 1.5, "label": "yes"}\n\n{"a": -3, "b": 2}\n')
    assert instances_of(file, Takes(columns=("a", "b", "note"), words=frozenset({"note"}))) == [
        (f"{file}:1", {"note": "so, so", "a": 1.5}),
        (f"{file}:3", {"a": -3, "b": 2}),
    ]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("rows.csv", "a;b\n1,5;2\n", "rows.csv:2: column 'a': got '1,5', expected a number with a decimal point"),
        ("rows.csv", "a,b\n1,2,3\n", "rows.csv:2: got 3 cells, expected 2"),
        ("rows.csv", 'a,b\n"1,2\n', "rows.csv:2: unexpected end of data"),
        ("rows.csv", "a,b\n", "holds no row"),
        ("rows.csv", "a,b\n\xff,2\n", "is not UTF-8"),
        ("rows.xlsx", "PK", "xlsx is not read here; send a .csv, .parquet or .jsonl file"),
        ("rows.jsonl", '{"a": 1}\n[2]\n', "rows.jsonl:2: got list, expected a JSON object"),
        ("rows.jsonl", '{"a": 1}\n{"a": NaN}\n', "rows.jsonl:2: got NaN, expected a finite number"),
        ("rows.jsonl", '{"a": 1}\n{"a"\n', "rows.jsonl:2: not JSON"),
        ("rows.jsonl", '{"a": 1}\n{"a": 1, "a": 2}\n', "rows.jsonl:2: name 'a' is there twice"),
        ("rows.jsonl", "\n", "holds no row"),
        ("bad.json", "a;b\n", "not JSON"),
        ("twice.json", '{"a": 1, "a": 2}', r"twice\.json: name 'a' is there twice"),
        ("absent.json", "", "cannot be read"),
        ("none.json", '{"instances": []}', "none.json: holds no instance"),
        ("nan.json", '{"a": NaN}', "nan.json: got NaN, expected a finite number"),
        ("inf.json", '{"instances": [[1, -Infinity]]}', "inf.json: got -Infinity, expected a finite"),
        ("huge.json", "[1e400, 1]", "huge.json: got 1e400, expected a finite"),
        ("rows.csv", "a,b\n1,nan\n", "rows.csv:2: column 'b': got 'nan', expected a finite number"),
        ("rows.csv", "a,b\n-inf,1\n", "column 'a': got '-inf'"),
        ("rows.csv", "a,b\n1e400,1\n", "column 'a': got '1e400'"),
        ("rows.csv", "a,b\n1_000,1\n", "column 'a': got '1_000'"),
        ("rows.csv", "a,b\n" + "9" * 5000 + ",1\n", "column 'a': got '9999"),
    ],
)
def test_what_is_no_instance_says_what_would_be(tmp_path: Path, name: str, text: str, words: str) -> None:
    if text:
        (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=words):
        instances_of(tmp_path / name, Takes(columns=("a", "b")))


def test_digits_of_other_scripts_are_no_numbers(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n\u0661\u0662,1\n", encoding="utf-8")
    with pytest.raises(DataError, match="column 'a'"):
        instances_of(tmp_path / "rows.csv", Takes(columns=("a", "b")))
    assert [number(cell, "a", "f:2") for cell in ("+7", "-0.5", ".5", "5.", "1E3")] == [7, -0.5, 0.5, 5.0, 1000.0]


SHOP = """
name: shop
source: {prefix: shop/, format: csv, encoding: cp1252, delimiter: ";", decimal: {menge: ","}}
schema:
  fields:
    größe: {kind: category, values: [groß, klein]}
    preis: {kind: number, decimal: ","}
    menge: {kind: number}
    klasse: {kind: category, values: [a, b]}
  label: klasse
gates:
  data: [{kind: data, measure: rows, minimum: 1}]
  candidate: [{kind: absolute, metric: accuracy, minimum: 0.6}]
  staging: [{kind: parity, maximum_difference: 0.0001}]
  champion: [{kind: absolute, metric: accuracy, minimum: 0.6}]
"""


def test_a_table_is_read_as_the_pipeline_file_says_that_its_deliveries_are_written(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes("größe;preis;menge\ngroß;1.249,50;3\nklein;7;1,5\n".encode("cp1252"))
    written = TableWriting.of(parse_pipeline(SHOP, where="shop.yaml"))
    takes = Takes(columns=("größe", "preis", "menge"), words=frozenset(["größe"]), written=written)
    assert [one for _, one in instances_of(file, takes)] == [
        {"größe": "groß", "preis": 1249.5, "menge": 3},
        {"größe": "klein", "preis": 7, "menge": 1.5},
    ]
    file.write_bytes("größe;preis;menge\ngroß;1,249.50;3\n".encode("cp1252"))
    with pytest.raises(DataError, match=r"'preis': got '1,249\.50', expected a number with the decimal mark ','"):
        instances_of(file, takes)


GAPS = SHOP.replace("label: klasse", "label: klasse\n  missing: [NA]").replace(
    "menge: {kind: number}", "menge: {kind: number, nullable: true, missing: ['\\N']}"
)


def test_cells_that_a_delivery_does_not_give_are_not_sent(tmp_path: Path) -> None:
    written = TableWriting.of(parse_pipeline(GAPS, where="shop.yaml"))
    takes = Takes(columns=("größe", "preis", "menge"), words=frozenset(["größe"]), written=written)
    (tmp_path / "rows.csv").write_bytes("größe;preis;menge\nNA;7;\\N\n\\N;NA;1\n".encode("cp1252"))
    rows = [{"preis": 7}, {"größe": "\\N", "menge": 1}]
    assert [one for _, one in instances_of(tmp_path / "rows.csv", takes)] == rows
    lines = [{"größe": "NA", "preis": 7, "menge": None}, {"größe": "\\N", "preis": "NA", "menge": 1}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert [one for _, one in instances_of(tmp_path / "rows.jsonl", takes)] == rows


def test_words_of_a_line_are_sent_as_a_delivery_is_read(tmp_path: Path) -> None:
    values = [5, 5.0, 1.5, True, {"größe": [1]}, "a", ""]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps({"a": one, "b": 1}) for one in values))
    found = instances_of(tmp_path / "rows.jsonl", Takes(columns=("a", "b"), words=frozenset("a")))
    assert [one.get("a") for _, one in found] == ["5", "5", "1.5", "true", '{"größe": [1]}', "a", None]


@pytest.mark.parametrize("text", ["1,2\n3,4\n", "1,yes,2\n3,no,4\n"])
def test_a_file_without_a_line_of_names_may_lack_what_is_no_input(tmp_path: Path, text: str) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(text)
    takes = Takes(columns=("b", "a"), written=TableWriting(header=("a", "label", "b")))
    assert [one for _, one in instances_of(file, takes)] == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]
    file.write_text("1\n")
    with pytest.raises(DataError, match=r"rows.csv:1: got 1 cells, expected 3"):
        instances_of(file, takes)


@pytest.mark.parametrize("text", ["b,a\n2,1\n4,3\n", "a,label,b\n1,x,2\n3,y,4\n"])
def test_a_file_with_a_line_of_names_all_the_same_is_read_by_them(tmp_path: Path, text: str) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(text)
    takes = Takes(columns=("b", "a"), written=TableWriting(header=("a", "label", "b")))
    assert instances_of(file, takes) == [(f"{file}:2", {"a": 1, "b": 2}), (f"{file}:3", {"a": 3, "b": 4})]
    file.write_text("b,a\n")
    with pytest.raises(DataError, match="holds no row"):
        instances_of(file, takes)


def test_a_mark_of_utf_16_tells_where_nothing_is_declared(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes("a,b\n1,2\n".encode("utf-16"))
    assert [one for _, one in instances_of(tmp_path / "rows.csv", Takes(columns=("a", "b")))] == [{"a": 1, "b": 2}]


@pytest.mark.parametrize("declared", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", None])
def test_the_mark_of_an_encoding_is_no_part_of_the_first_name(tmp_path: Path, declared: str | None) -> None:
    spec = parse_pipeline(SHOP.replace("cp1252", declared or "null"), where="shop.yaml")
    file = tmp_path / "rows.csv"
    mark = "" if declared == "utf-16" else "\ufeff"  # which python's utf-16 writes itself
    file.write_bytes(f"{mark}menge;preis\n3;7\n".encode(declared or "utf-8"))
    takes = Takes(columns=("menge", "preis"), written=TableWriting.of(spec))
    assert [one for _, one in instances_of(file, takes)] == [{"menge": 3, "preis": 7}]


@pytest.mark.parametrize("written", [TableWriting(delimiter=";"), TableWriting()])
def test_a_table_without_a_column_of_the_model_is_told_and_not_sent_empty(
    tmp_path: Path, written: TableWriting
) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("a,b\n1,2\n" if written.delimiter else "x,y\n1,2\n")
    with pytest.raises(DataError, match=r"rows\.csv:1: names none of the columns a, b; got .*delimiter"):
        instances_of(file, Takes(columns=("a", "b"), written=written))


def test_a_model_of_pictures_takes_no_table(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    assert takes_of(openapi("m", TABLE, ServingConfig())) == Takes(columns=("a", "b"))
    assert takes_of(openapi("m", IMAGE, ServingConfig())) == Takes(
        words=frozenset({"image_base64"}), file="image_base64"
    )
    with pytest.raises(DataError, match="takes none"):
        instances_of(tmp_path / "rows.csv", Takes())


def test_fields_of_a_schema_are_sent_by_name_words_as_they_are_and_a_file_as_the_one_field_of_its_kind(
    tmp_path: Path,
) -> None:
    def described(**fields: dict[str, Any]) -> dict[str, Any]:
        about = ExampleSpec(schema=Schema.model_validate({"fields": fields}).model_dump_json(), preparation="{}")
        spec = InputSpec(kind="named", shape=(), dtype="float32", example=about)
        return openapi("m", Signature(task="regression", classes=(), input=spec), ServingConfig())

    shop = takes_of(described(price={"kind": "number"}, land={"kind": "category", "values": ["1", "2"]}))
    (tmp_path / "rows.csv").write_text("land,price,note\n1,2.5,x\n")
    assert instances_of(tmp_path / "rows.csv", shop) == [(f"{tmp_path / 'rows.csv'}:2", {"land": "1", "price": 2.5})]
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    encoded = base64.b64encode(b"RIFF").decode()
    heard = takes_of(described(sound={"kind": "audio"}, who={"kind": "text", "nullable": True}))
    assert [one for _, one in instances_of(tmp_path / "a.wav", heard)] == [{"sound": encoded}]
    for fields in ({"a": {"kind": "audio"}, "b": {"kind": "image"}}, {"price": {"kind": "number"}}):
        with pytest.raises(DataError, match="a file alone is no instance"):
            instances_of(tmp_path / "a.wav", takes_of(described(**fields)))


@pytest.fixture
def served(serve: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slot]:
    """A server in this process, which the client asks."""
    slot = Slot()
    asked: TestClient = serve(slot, max_request_bytes=2000)

    def request(call: httpx.Request) -> httpx.Response:
        reply = asked.request(call.method, call.url.path, content=call.content, headers=dict(call.headers))
        return httpx.Response(reply.status_code, content=reply.content)

    def opened(**more: Any) -> httpx.Client:
        return httpx.Client(transport=httpx.MockTransport(request), **more)

    monkeypatch.setattr(client, "httpx", _Http(opened))
    return slot


class _Http:
    """httpx with another client."""

    HTTPError = httpx.HTTPError

    def __init__(self, opened: Any) -> None:
        self.Client = opened


def test_a_whole_table_is_answered_row_by_row(served: Slot, tmp_path: Path) -> None:
    served.swap(sum_of(3, TABLE))
    file = tmp_path / "rows.csv"
    file.write_text("b,a,label\n" + "".join(f"{n},1,x\n" for n in range(AT_ONCE + 10)))
    answer = predict_files("http://localhost", "quote", [file])
    assert [one["value"] for one in answer["predictions"]] == [n + 1.0 for n in range(AT_ONCE + 10)]
    assert (answer["version"], answer["instances"][-1]) == (3, f"{file}:{AT_ONCE + 11}")


def test_more_bytes_than_a_request_may_have_go_in_several(
    served: Slot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.swap(sum_of(3, TABLE))
    sent: list[int] = []
    real = client.asked

    def counted(*given: Any) -> dict[str, Any]:
        sent.append(len(given[4]) if given[2] == "POST" else 0)
        return real(*given)

    monkeypatch.setattr(client, "asked", counted)
    rows = [{"a": n, "b": 0.123456789} for n in range(200)]
    (tmp_path / "rows.json").write_text(json.dumps({"instances": rows}))
    answer = predict_files("http://localhost", "quote", [tmp_path / "rows.json"])
    assert [round(one["value"]) for one in answer["predictions"]] == list(range(200))
    assert len(sent) > 3
    assert 1900 < max(sent) <= 2000


class Server:
    """Takes so many instances a request and no more, whatever it says."""

    def __init__(self, takes: int) -> None:
        self.takes = takes
        self.sent: list[list[Any]] = []

    def __call__(self, call: httpx.Request) -> httpx.Response:
        instances = json.loads(call.content)["instances"]
        self.sent.append(instances)
        if len(instances) > self.takes:
            return httpx.Response(413, json={"error": {"field": "instances[0]", "reason": "too many pixels"}})
        return httpx.Response(200, json={"predictions": instances, "version": 1})

    def ask(self, instances: list[Any], *, most: int = 100, most_bytes: int = 1000) -> list[Any]:
        with httpx.Client(transport=httpx.MockTransport(self), base_url="http://s") as opened:
            told = client.answers_to(opened, "p", instances, most=most, most_bytes=most_bytes)
            return [one for answer in told for one in answer["predictions"]]


def test_one_instance_alone_is_sent_however_large_it_is() -> None:
    server = Server(9)
    instances = ["x" * 5000, "y", "z" * 5000, "z"]
    assert server.ask(instances, most_bytes=100) == instances
    assert server.sent == [[one] for one in instances]


def test_what_a_server_does_not_take_whole_is_sent_in_smaller_parts_from_then_on() -> None:
    server = Server(3)
    assert server.ask([*range(40)]) == [*range(40)]
    assert [len(part) for part in server.sent[:4]] == [40, 20, 10, 5]
    assert {len(part) for part in server.sent[4:]} == {2}


def test_one_instance_that_is_refused_is_told() -> None:
    with pytest.raises(DataError, match=r"413: .*too many pixels"):
        Server(0).ask([1, 2])


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=60), st.integers(1, 9), st.integers(1, 70))
def test_every_instance_is_answered_once_and_in_order(instances: list[int], takes: int, most: int) -> None:
    server = Server(takes)
    assert server.ask(instances, most=most, most_bytes=200) == instances
    for part in server.sent:
        assert len(part) <= most
        assert len(part) == 1 or len(json.dumps({"instances": part}, separators=(",", ":"))) <= 200


def test_a_server_of_an_earlier_release_says_nothing_of_bytes() -> None:
    described = openapi("m", TABLE, ServingConfig())
    del described["paths"]["/predict"]["post"]["x-max-bytes"]
    assert client.limits_of(described) == {"most": AT_ONCE, "most_bytes": ServingConfig().max_request_bytes}


def test_what_a_server_refuses_or_cannot_answer_is_told(served: Slot, tmp_path: Path) -> None:
    (tmp_path / "row.json").write_text(json.dumps({"a": 1}))
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")  # of what it takes it says nothing yet
    for name in ("row.json", "rows.csv"):
        with pytest.raises(InfrastructureError, match=r"503, it has no version to answer with \(no champion yet"):
            predict_files("http://localhost", "quote", [tmp_path / name])
    served.swap(sum_of(3, TABLE))
    with pytest.raises(DataError, match=r"instances\[0\].b"):
        predict_files("http://localhost", "quote", [tmp_path / "row.json"])
    with pytest.raises(ConfigurationError, match="ratchet run quote"):
        predict_files(None, "quote", [])
    with pytest.raises(ConfigurationError, match="quote is stopped; `ratchet deploy quote` starts it again"):
        predict_files("http://localhost", "quote", [], withdrawn="stopped")
