"""Bodies that are not JSON say what JSON says, bit for bit; what is wrong with one is a 4xx that names its field."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.serving.reading.arrow_messages import refuse_compressed
from mlratchet.models.serving.reading.media import ARROW, CSV, FORM, NPY, media_types
from mlratchet.models.serving.refusal import BadRequestError
from mlratchet.models.serving.schema import parse_request
from mlratchet.models.sources.record import InputSpec
from mlratchet.models.tensors.named import Inputs

from tests.unit.serving.conftest import IMAGE, TABLE
from tests.unit.serving.six_schemas import KINDS, png, predictor_of, wav

WHOLE = Signature(task="regression", classes=(), input=InputSpec(kind="tensor", shape=(2,), dtype="uint8"))
SHOP = KINDS["shop"].example


def npy(array: Any, *, version: tuple[int, int] | None = None) -> bytes:
    sink = io.BytesIO()
    np.lib.format.write_array(sink, np.asarray(array), version=version, allow_pickle=True)
    return sink.getvalue()


def arrow(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as out:
        out.write_table(table)
    return sink.getvalue()


def form(*parts: tuple[str, bytes, str], boundary: str = "cut") -> tuple[bytes, str]:
    """Of (name, data, media type)."""
    told = b""
    for name, data, media in parts:
        head = f'Content-Disposition: form-data; name="{name}"; filename="f"\r\nContent-Type: {media}'
        told += f"--{boundary}\r\n{head}\r\n\r\n".encode() + data + b"\r\n"
    return told + f"--{boundary}--\r\n".encode(), f"{FORM}; boundary={boundary}"


def same(found: Inputs, expected: Inputs) -> None:
    assert found.names == expected.names
    for name, values in expected.arrays().items():
        assert found.arrays()[name].dtype == values.dtype
        np.testing.assert_array_equal(found.arrays()[name], values)


def of_json(kind: str, *examples: Any) -> Inputs:
    return parse_request(orjson.dumps({"instances": list(examples)}), predictor_of(kind).signature)


def refused(body: bytes, signature: Signature, content_type: str | None) -> BadRequestError:
    with pytest.raises(BadRequestError) as caught:
        parse_request(body, signature, content_type=content_type)
    assert 400 <= caught.value.status < 500
    return caught.value


def answered_or_refused(body: bytes, kind: str, content_type: str) -> bool:
    """Whatever else it raises is a failure."""
    try:
        return len(parse_request(body, predictor_of(kind).signature, content_type=content_type)) > 0
    except BadRequestError as error:
        return 400 <= error.status < 500 and bool(error.field) and bool(error.message)


@pytest.mark.parametrize("kind", KINDS)
def test_one_example_may_stand_for_itself(kind: str) -> None:
    example = KINDS[kind].example
    same(parse_request(orjson.dumps(example), predictor_of(kind).signature), of_json(kind, example))


def test_one_row_of_numbers_may_stand_for_itself() -> None:
    for body in (b'{"b": 2, "a": 1}', b"[1, 2]", b'{"instances": [[1, 2]]}'):
        assert parse_request(body, TABLE).array.tolist() == [[1, 2]]
    assert parse_request(b"[[[1, 0], [0, 1]]]", IMAGE).array.shape == (1, 1, 2, 2)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({**SHOP, "size": "tall"}, "size"),
        ({**SHOP, "size": 1000}, "size"),
        ({"town": "Lund"}, "note"),
        ({**SHOP, "colour": "red"}, "colour"),
        ({"colour": "red"}, "colour"),
        ({}, "instances"),
        ({"instances": [SHOP], "size": 3}, "instances"),
    ],
)
def test_an_example_that_stands_for_itself_names_its_fields_without_a_number(body: Any, field: str) -> None:
    assert refused(orjson.dumps(body), predictor_of("shop").signature, None).field == field


def test_a_field_that_is_called_instances_is_a_field() -> None:
    signature = Signature(
        task="regression",
        classes=(),
        input=InputSpec(kind="table", shape=(2,), dtype="float32", columns=("instances", "b")),
    )
    assert parse_request(b'{"instances": 3, "b": 4}', signature).array.tolist() == [[3, 4]]
    assert parse_request(b'{"instances": [[3, 4]]}', signature).array.tolist() == [[3, 4]]


def test_rows_of_csv_are_those_of_json() -> None:
    body = 'town,size,note,day\r\nLund,3.5,"a good thing, ""really""",2026-03-01T00:00:00Z\r\nMalmö,,bad,\r\n'.encode()
    first = {"town": "Lund", "size": 3.5, "note": 'a good thing, "really"', "day": "2026-03-01T00:00:00Z"}
    expected = of_json("shop", first, {"town": "Malmö", "note": "bad"})
    for prefix in (b"", b"\xef\xbb\xbf"):
        same(
            parse_request(prefix + body, predictor_of("shop").signature, content_type="text/csv; charset=utf-8"),
            expected,
        )
    assert parse_request(b"b,a\n2,1\n4,3\n", TABLE, content_type=CSV).array.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "instances"),
        (b"town,note\n", "instances"),
        (b"town,note,colour\nLund,x,y\n", "instances.colour"),
        (b"town,note,note\nLund,x,y\n", "instances.note"),
        (b"town,note\nLund\n", "instances[0]"),
        (b"town,note\nLund,x\nLund,\n", "instances[1].note"),
        (b"town,note,size\nLund,x,1.5e999\n", "instances[0].size"),
        (b"town,note,size\nLund,x,nan\n", "instances[0].size"),
        (b'town,note,size\nLund,x,"1,5"\n', "instances[0].size"),
        (b"town,note\nLund,\xff\n", "body"),
        (b"town,note\nLund,a\0b\n", "body"),
        (b'town,note\nLund,"a\n', "body"),
        (b"town,note\n" + b"Lund,x\n" * 5000, "instances"),
    ],
)
def test_what_is_wrong_with_csv_is_named(body: bytes, field: str) -> None:
    assert refused(body, predictor_of("shop").signature, CSV).field == field


@pytest.mark.parametrize("kind", ["picture", "sound"])
def test_a_file_is_an_example(kind: str) -> None:
    media, data = ("image/png", png()) if kind == "picture" else ("audio/x-wav", wav())
    signature = predictor_of(kind).signature
    same(parse_request(data, signature, content_type=media), of_json(kind, KINDS[kind].example))
    (name,) = KINDS[kind].fields
    assert refused(b"text", signature, media).field == name
    assert refused(b"", signature, media).field == name
    assert refused(data, predictor_of("shop").signature, media).status == 415


def test_a_picture_of_a_model_that_takes_one() -> None:
    sink = base64.b64encode(png()).decode()
    body = json.dumps({"instances": [{"image_base64": sink}]}).encode()
    expected = parse_request(body, IMAGE)
    same(parse_request(png(), IMAGE, content_type="image/png"), expected)
    same(parse_request(*form_of(IMAGE, ("image_base64", png(), "image/png"))), expected)
    assert refused(b"GIF89a", IMAGE, "image/gif").field == "image_base64"


def form_of(signature: Signature, *parts: tuple[str, bytes, str]) -> tuple[bytes, Signature, None, str]:
    body, content_type = form(*parts)
    return body, signature, None, content_type


def test_a_form_holds_a_field_in_each_part() -> None:
    parts = [
        ("size", b"3.5", "text/plain"),
        ("town", b"Lund", "text/plain"),
        ("note", b"a very good thing", "text/plain"),
        ("day", b"", "text/plain"),
    ]
    expected = of_json("shop", {"size": 3.5, "town": "Lund", "note": "a very good thing"})
    same(parse_request(*form_of(predictor_of("shop").signature, *parts)), expected)
    same(
        parse_request(*form_of(predictor_of("sound").signature, ("clip", wav(), "audio/wav"))),
        of_json("sound", KINDS["sound"].example),
    )
    tensor = predictor_of("tensor").signature
    for data, media in ((b"[[1,2,3],[4,5,6]]", "application/json"), (npy([[1, 2, 3], [4, 5, 6]]), NPY)):
        same(parse_request(*form_of(tensor, ("signal", data, media))), of_json("tensor", KINDS["tensor"].example))


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ([("size", b"tall", "text/plain")], "size"),
        ([("size", b"\xff", "text/plain")], "size"),
        ([("town", b"Lund", "text/plain")] * 2, "town"),
        ([("towns", b"Lund", "text/plain")], "towns"),
        ([("", b"Lund", "text/plain")], "body"),
        ([("town", b"Lund", "text/plain")], "note"),
        ([("town", b"Lund", "text/plain")] * 9, "body"),
        ([], "note"),
    ],
)
def test_what_is_wrong_with_a_form_is_named(parts: list[tuple[str, bytes, str]], field: str) -> None:
    body, content_type = form(*parts)
    error = refused(body, predictor_of("shop").signature, content_type)
    assert (error.field in (field, "town"), bool(error.message)) == (True, True)


@pytest.mark.parametrize(
    "content_type", [FORM, f"{FORM}; boundary=", f"{FORM}; boundary={'x' * 71}", f"{FORM}; boundary=other"]
)
def test_a_form_that_is_none(content_type: str) -> None:
    body, _ = form(("town", b"Lund", "text/plain"))
    for cut in (body, body[:-8], body[:10], b""):
        assert refused(cut, predictor_of("shop").signature, content_type).status == 400


def test_rows_of_an_array_are_those_of_json() -> None:
    rows = np.arange(8, dtype=np.float64).reshape(2, 1, 2, 2) / 8
    expected = parse_request(orjson.dumps({"instances": rows.tolist()}), IMAGE)
    for sent in (rows, rows.astype(">f4"), np.asfortranarray(rows), rows.astype(np.float16)):
        same(parse_request(npy(sent), IMAGE, content_type=NPY), expected)
    same(parse_request(npy(rows, version=(2, 0)), IMAGE, content_type=NPY), expected)
    same(parse_request(npy(rows[0]), IMAGE, content_type=NPY), parse_request(orjson.dumps(rows[0].tolist()), IMAGE))
    assert parse_request(npy([[0, 255.0]]), WHOLE, content_type=NPY).array.tolist() == [[0, 255]]
    tensor = predictor_of("tensor").signature
    same(
        parse_request(npy([[[1, 2, 3], [4, 5, 6]]]), tensor, content_type=NPY),
        of_json("tensor", KINDS["tensor"].example),
    )


@pytest.mark.parametrize(
    ("array", "signature", "field"),
    [
        ([[1.0, float("nan")]], TABLE, "instances[0][1]"),
        ([[1.0, 2.0], [1e39, 2.0]], TABLE, "instances[1][0]"),
        ([[1.0, 2.0, 3.0]], TABLE, "body"),
        (np.zeros((0, 2)), TABLE, "instances"),
        (np.zeros((5000, 2)), TABLE, "instances"),
        (np.zeros(()), TABLE, "body"),
        ([float("inf"), 1.0], TABLE, "body[0]"),
        ([["a", "b"]], TABLE, "body"),
        ([[True, False]], TABLE, "body"),
        ([[1j, 2]], TABLE, "body"),
        ([[0, 256]], WHOLE, "instances[0][1]"),
        ([[0, -1]], WHOLE, "instances[0][1]"),
        ([[0.5, 1]], WHOLE, "instances[0][0]"),
        ([[2.0, 1.0]], WHOLE, ""),
        ([[[[0, 1], [0, 1.5]]]], IMAGE, "instances[0][0][1][1]"),
    ],
)
def test_what_is_wrong_with_an_array_is_named(array: Any, signature: Signature, field: str) -> None:
    if not field:
        assert parse_request(npy(array), signature, content_type=NPY).array.tolist() == array
        return
    assert refused(npy(array), signature, NPY).field == field


class Boom:
    """Unpickling it is an error of the test."""

    def __reduce__(self) -> Any:
        return pytest.fail, ("it was unpickled",)


def test_no_array_is_unpickled_and_none_is_larger_than_its_bytes() -> None:
    pickled = npy(np.array([Boom()], dtype=object))
    assert refused(pickled, TABLE, NPY).status == 422
    good = npy(np.zeros((1, 2)))
    larger = good.replace(b"(1, 2)", b"(1,99)")
    for body in (larger, good[:-1], good + b"x", good[:20], b"", b"PK\x03\x04", b"\x93NUMPY\x03\x00" + good[8:]):
        assert refused(body, TABLE, NPY).status == 400
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904, 4), }"
    giant = b"\x93NUMPY\x01\x00" + (len(header)).to_bytes(2, "little") + header
    assert refused(giant, TABLE, NPY).status == 400


def shop_table(**changed: Any) -> pa.Table:
    columns: dict[str, Any] = {
        "size": pa.array([3.5, None]),
        "town": pa.array(["Lund", "Malmö"]),
        "note": pa.array(["a very good thing", "bad"]),
        "day": pa.array([1772323200000000, None], pa.timestamp("us", "UTC")),
    }
    return pa.table({name: value for name, value in {**columns, **changed}.items() if value is not None})


def test_rows_of_arrow_are_those_of_json() -> None:
    expected = of_json("shop", SHOP, {"town": "Malmö", "note": "bad"})
    same(parse_request(arrow(shop_table()), predictor_of("shop").signature, content_type=ARROW), expected)
    same(
        parse_request(arrow(pa.table({"clip": [wav()]})), predictor_of("sound").signature, content_type=ARROW),
        of_json("sound", KINDS["sound"].example),
    )
    nested = pa.table({"signal": pa.array([[[1, 2, 3], [4, 5, 6]]])})
    same(
        parse_request(arrow(nested), predictor_of("tensor").signature, content_type=ARROW),
        of_json("tensor", KINDS["tensor"].example),
    )


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"size": pa.array(["3.5", None])}, "instances.size"),
        ({"size": pa.array([float("nan"), 1.0])}, "instances[0].size"),
        ({"note": pa.array(["x", None])}, "instances[1].note"),
        ({"note": None}, "instances[0].note"),
        ({"colour": pa.array(["x", "y"])}, "instances.colour"),
        ({"town": pa.array(["Lund", "Lund"]).dictionary_encode()}, "instances.town"),
        ({"day": pa.array([1, 2], pa.timestamp("ns"))}, "instances.day"),
        ({"day": pa.array([2**62, 2], pa.timestamp("us"))}, "instances.day"),
        ({"note": pa.nulls(2)}, "instances.note"),
        ({"note": pa.array([["x"], ["y"]])}, "instances.note"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(changed: dict[str, Any], field: str) -> None:
    error = refused(arrow(shop_table(**changed)), predictor_of("shop").signature, ARROW)
    assert error.field in (field, "body"), error
    assert error.field == field or "dictionary" in error.message


def test_a_stream_that_makes_much_of_few_bytes_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    much = pa.table({"note": pa.array(["x" * 40_000_000]), "town": pa.array(["Lund"])})
    for codec in ("zstd", "lz4"):
        body = arrow(much, compression=codec)
        assert len(body) < 400_000
        monkeypatch.setattr(pa.ipc, "open_stream", lambda _: pytest.fail("it was read"))
        error = refused(body, predictor_of("shop").signature, ARROW)
        assert (error.status, "compressed" in error.message) == (400, True)
        monkeypatch.undo()


GOOD_STREAM = arrow(shop_table())


@settings(deadline=None, max_examples=150)
@given(st.integers(0, len(GOOD_STREAM) - 1), st.binary(min_size=1, max_size=9))
def test_no_stream_whatever_breaks_the_reader(at: int, put: bytes) -> None:
    body = GOOD_STREAM[:at] + put + GOOD_STREAM[at + len(put) :]
    assert answered_or_refused(body, "shop", ARROW)


def test_messages_of_a_good_stream_pass() -> None:
    refuse_compressed(GOOD_STREAM)
    for cut in (1, 7, 30, len(GOOD_STREAM) // 2):
        with pytest.raises(ValueError, match=r"message|stream"):
            refuse_compressed(GOOD_STREAM[:cut])


@settings(deadline=None, max_examples=60)
@given(st.sampled_from([CSV, FORM + "; boundary=cut", ARROW, NPY, "image/png", "audio/wav"]), st.binary(max_size=300))
def test_no_bytes_whatever_break_a_reader(content_type: str, body: bytes) -> None:
    for kind in KINDS:
        signature = predictor_of(kind).signature
        if content_type.split(";")[0] in media_types(signature):
            assert answered_or_refused(body, kind, content_type)


@pytest.mark.parametrize("kind", KINDS)
def test_a_type_that_a_model_does_not_take_is_named_with_those_that_it_does(kind: str) -> None:
    error = refused(b"", predictor_of(kind).signature, "application/x-www-form-urlencoded")
    assert (error.status, error.field) == (415, "content-type")
    assert all(media in error.message for media in media_types(predictor_of(kind).signature))
