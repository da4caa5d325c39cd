"""A stretch of the log is what its signed chains say: what is cut, changed, planted or copied makes it not whole."""

from __future__ import annotations

import pyarrow as pa
import pytest
from mlratchet.models.inference_log.chain import WriterChain
from mlratchet.models.inference_log.file import LogFile, record_key
from mlratchet.models.inference_log.reading import LogStretch, list_log, read_log
from mlratchet.models.schema.fields import Field, Schema

from tests.unit.inference_log.logs import Log

SCHEMA = Schema(fields={"speed": Field(kind="number"), "line": Field(kind="category")})


def filled(files: int = 6, **options: object) -> tuple[Log, list[LogFile]]:
    log = Log(schema=SCHEMA, **options)  # type: ignore[arg-type]
    said = []
    for number in range(files):
        at_s = 1000.0 + 10 * number
        rows = [{"received_s": at_s + one, "field.speed": float(one), "field.line": "a"} for one in range(5)]
        said += log.write(rows)
    return log, said


def stretch(log: Log, since_s: float = 0.0, until_s: float = 2000.0, **options: int) -> LogStretch:
    return read_log(log.store, log.keys, log.pipeline, since_s=since_s, until_s=until_s, **options)


def test_every_row_is_there_typed_and_in_order() -> None:
    log, said = filled()

    found = stretch(log)

    assert found.whole
    assert found.table["received_s"].to_pylist() == [1000.0 + 10 * n + k for n in range(6) for k in range(5)]
    assert found.table.schema.field("field.speed").type == pa.float64()
    assert found.table.schema.field("field.line").type == pa.string()
    assert found.digests == tuple(one.sha256 for one in said)
    assert found.settled_s == 1054.0


def test_a_stretch_begins_and_ends_within_files() -> None:
    log, _ = filled()

    found = stretch(log, 1012.0, 1033.0)

    assert found.table["received_s"].to_pylist() == [1012.0, 1013.0, 1014.0, *(1020.0 + k for k in range(5)), 1030.0,
                                                     1031.0, 1032.0]  # fmt: skip
    assert [one.number for one in found.files] == [2, 3, 4]


@pytest.mark.parametrize("since_s", [0.0, 999.0, 1000.0, 1004.0, 1004.5, 1025.0, 1054.0, 1054.5])
def test_halving_finds_what_reading_all_finds(since_s: float) -> None:
    log, _ = filled()

    found = stretch(log, since_s).table["received_s"].to_pylist()

    assert found == [at_s for at_s in stretch(log).table["received_s"].to_pylist() if at_s >= since_s]


def test_versions_and_hours_are_apart() -> None:
    log = Log()
    log.write([{"received_s": 3500.0}, {"received_s": 3700.0}, {"received_s": 3500.0, "version": 2, "request_id": "b"}])

    assert {one.object.rsplit("/", 1)[0] for one in stretch(log, until_s=9e9).files} == {
        "log/plant/1/1970-01-01/00", "log/plant/1/1970-01-01/01", "log/plant/2/1970-01-01/00",
    }  # fmt: skip
    assert stretch(log, until_s=9e9, version=2).table["request_id"].to_pylist() == ["b"]


def test_what_was_dropped_is_told() -> None:
    log, _ = filled(2)
    log.write([], settled_s=1100.0, dropped=7, unclosed=1)

    found = stretch(log)

    assert (found.dropped, found.unclosed, found.whole) == (7, 1, True)


def test_a_record_that_was_taken_out_makes_it_not_whole() -> None:
    log, _ = filled()
    log.store.delete(record_key("plant", "answers", "w1", 3))

    found = stretch(log)

    assert found.problems == ("memory/log/plant/chain/w1/00000003.json: is missing",)
    assert stretch(log, 1040.0).whole  # elsewhere nothing is missing


@pytest.mark.parametrize("tried", ["changed", "gone", "swapped"])
def test_a_file_that_is_not_the_recorded_one_makes_it_not_whole(tried: str) -> None:
    log, said = filled()
    victim = said[2].object
    if tried == "gone":
        log.store.delete(victim)
    else:
        log.store.put(victim, log.store.get(said[3].object) if tried == "swapped" else b"PAR1")

    found = stretch(log)

    assert not found.whole
    assert victim in found.problems[0]
    assert found.table.num_rows == 25


@pytest.mark.parametrize("tried", ["copied", "planted", "by the pipeline's key", "by another log key"])
def test_a_record_that_is_not_the_writers_is_a_gap(tried: str) -> None:
    log, said = filled()
    name, other = (record_key("plant", "answers", "w1", number) for number in (3, 4))
    if tried == "copied":
        log.store.put(name, log.store.get(other))
    elif tried == "planted":
        log.store.put(name, b"{}")
    else:
        mallory = Log(pipeline_key=log.pipeline_signer)
        signer = log.keys if tried == "by the pipeline's key" else mallory.writer_keys
        log.store.delete(name)
        from mlratchet.models.identity.signed_records import signed_record

        document = said[2].model_dump(mode="json")
        log.store.put(name, signed_record(document, name, signer.signer(), at_s=0.0))

    found = stretch(log)

    assert not found.whole
    assert "00000003.json" in found.problems[0]


def test_a_chain_that_was_grown_apart_from_its_past_does_not_hold() -> None:
    log, _ = filled(3)
    forked = Log(writer="w1", store=log.store)  # the writer's own key, a chain that does not follow
    forked.writer_keys = log.writer_keys
    from mlratchet.models.inference_log.chain import Head

    forked._chains["answers"] = WriterChain(
        log.store, log.writer_keys, pipeline="plant", writer="w1", holds="answers", head=Head(number=3, digest="0" * 64)
    )
    forked.write([{"received_s": 1100.0}])

    assert stretch(log).problems == ("memory/log/plant/chain/w1/00000004.json: does not follow the record before it",)


def test_a_stranger_behind_the_end_is_a_gap_only_where_a_record_should_be() -> None:
    log, _ = filled(2)
    log.store.put(record_key("plant", "answers", "w1", 99999999), b"{}")
    assert stretch(log).whole

    log.store.put(record_key("plant", "answers", "w1", 3), b"{}")
    assert not stretch(log).whole

    log.write([{"received_s": 1100.0}])  # the writer's turn: it keeps the stranger aside and writes over it
    assert stretch(log).whole
    assert [info.key.split("/", 3)[3] for info in log.store.list("log/_aside/")] == ["log/plant/chain/w1/00000003.json"]


def test_a_cut_end_shows_once_the_writer_goes_on() -> None:
    log, _ = filled(4)
    for number in (3, 4):
        log.store.delete(record_key("plant", "answers", "w1", number))

    log.write([{"received_s": 1100.0}])

    assert len(stretch(log).problems) == 2


def test_two_writers_are_read_together() -> None:
    log, _ = filled(2)
    other = Log(schema=SCHEMA, store=log.store, writer="w2")
    other.writer_keys = log.writer_keys
    other.write([{"received_s": 1002.5, "field.speed": 9.0}])

    found = stretch(log)

    assert found.whole
    assert found.table["field.speed"].to_pylist()[:5] == [0.0, 1.0, 2.0, 9.0, 3.0]


def test_a_field_that_was_another_kind_is_text() -> None:
    log, _ = filled(1)
    log.columns = Log(schema=Schema(fields={"speed": Field(kind="category")})).columns
    log.write([{"received_s": 1100.0, "field.speed": "fast"}])

    assert stretch(log).table["field.speed"].to_pylist()[-2:] == ["4", "fast"]


def test_a_day_is_read_file_by_file() -> None:
    log, _ = filled(6)

    listing = list_log(log.store, log.keys, "plant", since_s=1012.0, until_s=1033.0)

    tables = list(listing.tables(log.store, columns=["field.speed"]))
    assert [table.num_rows for table in tables] == [3, 5, 3]
    assert tables[0].column_names == ["field.speed"]
