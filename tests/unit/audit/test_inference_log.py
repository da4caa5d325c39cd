"""The log in reach of whoever may write to the bucket, or has one key: nothing is believed, and audit names it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.models.audit.audit import Audit
from mlratchet.models.audit.report import AuditReport
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.record_kinds import kind_of
from mlratchet.models.identity.signed_records import ForeignRecord, RecordStore, signed_record
from mlratchet.models.identity.signing import Signer
from mlratchet.models.inference_log.file import record_key
from mlratchet.models.inference_log.labels import LabelRequest, read_label_requests
from mlratchet.models.inference_log.reading import read_log
from mlratchet.models.inference_log.rewrites import rewrite_key
from mlratchet.models.inference_log.rewriting import Rewriter

from tests.unit.audit.conftest import World
from tests.unit.identity.test_signed_records import NAMES
from tests.unit.inference_log.logs import Log


@pytest.fixture
def log(world: World) -> Log:
    """Of the pipeline that was promoted, in the same bucket."""
    world.promote(1)
    made = Log("digits", store=world.store, pipeline_key=world.keys.signer())
    for number in range(4):
        made.write([{"received_s": 1000.0 + 10 * number + one, "client_key": "ada"} for one in range(3)])
    made.feedback([("r1000.000000", 0, "7", 1005.0)])
    return made


def audit(world: World, log: Log) -> AuditReport:
    return Audit(world.store, world.bucket, log.keys.trusted(), "digits").run()


def record(number: int) -> str:
    return record_key("digits", "answers", "w1", number)


def file_of(log: Log, number: int) -> str:
    return log.chain().read(record(number))[1].object


def test_a_whole_log_is_no_problem(world: World, log: Log) -> None:
    assert audit(world, log).problems == []


PLANTS: dict[str, Callable[[Log], None]] = {
    "deletes a record": lambda log: log.store.delete(record(2)),
    "replays a record": lambda log: log.store.put(record(2), log.store.get(record(3))),
    "edits a record": lambda log: log.store.put(record(2), log.store.get(record(2)).replace(b'"rows":3', b'"rows":2')),
    "plants a record": lambda log: log.store.put(record(2), b"{}"),
    "deletes a file": lambda log: log.store.delete(file_of(log, 2)),
    "edits a file": lambda log: log.store.put(file_of(log, 2), b"PAR1"),
    "swaps files": lambda log: log.store.put(file_of(log, 2), log.store.get(file_of(log, 3))),
}


@pytest.mark.parametrize("tried", sorted(PLANTS))
def test_a_bucket_writer_makes_the_stretch_inconclusive_and_is_named(world: World, log: Log, tried: str) -> None:
    PLANTS[tried](log)

    assert not read_log(world.store, log.keys, "digits", since_s=0, until_s=9e9).whole
    report = audit(world, log)
    assert any("log/digits/" in line for line in report.problems), report.problems


@pytest.mark.parametrize("holds", ["answers", "feedback"])
def test_rows_and_labels_that_a_bucket_writer_adds_count_for_nothing_and_are_named(
    world: World, log: Log, holds: str
) -> None:
    mallory = Log("digits", store=world.store, writer="w9")  # a chain of a writer that nobody trusts
    if holds == "answers":
        mallory.write([{"received_s": 1001.5, "request_id": "planted"}])
    else:
        mallory.feedback([("r1001.000000", 0, "wrong", 1005.0)])

    found = read_log(world.store, log.keys, "digits", since_s=0, until_s=9e9, holds=holds)  # type: ignore[arg-type]

    assert "planted" not in found.table["request_id"].to_pylist()
    assert found.table.num_rows == (12 if holds == "answers" else 1)
    report = audit(world, log)
    assert any("w9" in line for line in [*report.problems, *report.notes])


def test_an_object_that_no_record_names_is_told(world: World, log: Log) -> None:
    world.store.put("log/digits/1/1970-01-01/00/w1-00000099.parquet", b"PAR1")

    report = audit(world, log)

    assert report.problems == []
    assert any("w1-00000099.parquet: is named by no record" in note for note in report.notes)


def test_a_request_for_labels_that_is_planted_draws_nothing(world: World, log: Log) -> None:
    one = LabelRequest(pipeline="digits", at_s=1.0, rows=(("r1000.000000", 0, 0.001),))
    stolen = log.log_signer.sign(b"x", purpose="label-request")  # the log writer's key makes none
    assert stolen.key_id == log.log_signer.key_id
    log.store.put(one.key(), signed_record({**one.model_dump(mode="json")}, one.key(), log.log_signer, at_s=1.0))

    found, problems = read_label_requests(world.store, log.keys, "digits")

    assert found == []
    assert "expected a pipeline key" in problems[0]


@pytest.mark.parametrize("purpose", sorted(set(NAMES) - {"log-file"}))
def test_a_thief_of_the_log_writers_key_makes_no_other_record(log: Log, purpose: str) -> None:
    key = NAMES[purpose]
    log.store.put(key, signed_record({"said": 1}, key, log.log_signer, at_s=1.0))

    with pytest.raises(ForeignRecord, match="signed by the log key"):
        RecordStore(log.store, log.keys).get(key)


@pytest.mark.parametrize(
    ("purpose", "role"), [("decision", "pipeline"), ("ledger", "pipeline"), ("approval", "approver")]
)
def test_nor_a_decision_a_promotion_or_an_approval(log: Log, purpose: str, role: str) -> None:
    signature = log.log_signer.sign(b"x", purpose=purpose)  # type: ignore[arg-type]
    with pytest.raises(SecurityError, match="signed by the log key"):
        log.keys.trusted().verify(signature, b"x", purpose=purpose, role=role, at_s=1.0, what="it")  # type: ignore[arg-type]


def test_the_pipelines_key_makes_no_log_file(log: Log) -> None:
    key = record(5)
    kind = kind_of(key)
    assert kind is not None
    assert kind.role == "log"
    log.store.put(key, signed_record({"said": 1}, key, log.pipeline_signer, at_s=1.0))

    assert not read_log(log.store, log.keys, "digits", since_s=0, until_s=9e9).whole


def test_a_rewrite_by_a_stranger_erases_nothing(world: World, log: Log) -> None:
    mallory = Log("digits", store=world.store, writer="w1")
    mallory.keys = MemoryKeys(Signer.generate(), log.keys.trusted())
    with pytest.raises(SecurityError):
        Rewriter(world.store, mallory.keys, "digits", "answers", now_s=2e9).erase("client_key", ["ada"])
    assert world.store.exists(rewrite_key("digits", "answers", 1))

    found = read_log(world.store, log.keys, "digits", since_s=0, until_s=9e9)

    assert (found.erased, found.table.num_rows) == (0, 12)
    assert not found.whole


def test_what_was_erased_is_told_as_erased_and_not_as_changed(world: World, log: Log) -> None:
    Rewriter(world.store, log.keys, "digits", "answers", now_s=2e9).erase("client_key", ["ada"])

    report = audit(world, log)

    assert report.problems == []
    assert any("12 rows were erased" in note for note in report.notes)


def test_a_revoked_writer_is_believed_no_more(world: World, log: Log) -> None:
    keys = [
        key.model_copy(update={"revoked_s": 1.0, "reason": "stolen"}) if key.role == "log" else key
        for key in log.keys.trusted()
    ]
    from mlratchet.models.identity.signing import TrustedKeys

    log.keys.list = TrustedKeys(keys)

    found = read_log(world.store, log.keys, "digits", since_s=0, until_s=9e9)

    assert found.table.num_rows == 0
    assert not found.whole
