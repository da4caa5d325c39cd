"""Files of the log are put together, let go and rid of rows; the chains hold as before, and what is gone is told."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models import fault_points
from mlratchet.models.errors import SecurityError
from mlratchet.models.inference_log import rewriting
from mlratchet.models.inference_log.config import LogConfig
from mlratchet.models.inference_log.file import LogFile, media_key
from mlratchet.models.inference_log.reading import LogStretch, read_log
from mlratchet.models.inference_log.rewrites import read_rewrites
from mlratchet.models.inference_log.rewriting import Rewriter
from mlratchet.models.ports.storage import ObjectExists
from mlratchet.models.schema.fields import Field, Schema

from tests.unit.inference_log.logs import Log

DAY = 86_400.0
SCHEMA = Schema(fields={"photo": Field(kind="image"), "age": Field(kind="number")})


def some_days(**options: object) -> tuple[Log, list[LogFile]]:
    """Two versions, two clients, three times two files a day."""
    log = Log(schema=SCHEMA, config=LogConfig(), **options)  # type: ignore[arg-type]
    said = []
    for day in range(4):
        for part in range(3):
            at_s = (day + 1) * DAY + 100.0 * part
            rows = [
                {"received_s": at_s + one, "client_key": "ada" if one == 0 else "bob", "version": 1 + one % 2,
                 "field.age": float(one), "field.photo": f"{day}{part}{one}".rjust(64, "a")}
                for one in range(4)
            ]  # fmt: skip
            said += log.write(rows)
    return log, said


def rewriter(log: Log, holds: str = "answers") -> Rewriter:
    return Rewriter(log.store, log.keys, "plant", holds, now_s=4 * DAY + 500.0)  # type: ignore[arg-type]


def read(log: Log, since_s: float = 0.0, until_s: float = 9e9) -> LogStretch:
    return read_log(log.store, log.keys, "plant", since_s=since_s, until_s=until_s)


def rows(stretch: LogStretch) -> list[tuple[str, str]]:
    columns = ("request_id", "client_key")
    return sorted(zip(*(stretch.table[name].to_pylist() for name in columns), strict=True))


def objects(log: Log) -> list[str]:
    return [info.key for info in log.store.list("log/plant/") if info.key.endswith(".parquet")]


class Interrupted(MemoryStore):
    """Something happens right before a rewrite is published, once."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], object] | None = None

    def create(self, key: str, data: bytes | bytearray) -> None:
        if "/rewrites/" in key and self.meanwhile is not None:
            happens, self.meanwhile = self.meanwhile, None
            happens()
        super().create(key, data)


@pytest.mark.parametrize("other", ["compact", "expire", "erase"])
def test_of_two_rewrites_at_once_the_second_begins_anew_and_no_row_is_lost_doubled_or_left(other: str) -> None:
    log, _ = some_days(store=(store := Interrupted()))
    bobs = [one for one in rows(read(log)) if one[1] == "bob"]
    act = {
        "compact": lambda: rewriter(log).compact(),
        "expire": lambda: rewriter(log).expire(2 * DAY),
        "erase": lambda: rewriter(log).erase("client_key", ["ada"]),
    }
    store.meanwhile = act[other]
    with contextlib.suppress(ObjectExists) if other == "erase" else pytest.raises(ObjectExists):  # the same is no harm
        rewriter(log).erase("client_key", ["ada"])
    rewriter(log).erase("client_key", ["ada"])
    assert read(log).whole
    gone = {f"r{DAY + 100.0 * part + one:.6f}" for part in range(3) for one in range(4)} if other == "expire" else set()
    assert rows(read(log)) == [one for one in bobs if one[0] not in gone]


@pytest.mark.parametrize("other", ["sweep", "compact"])
def test_an_erasure_of_several_rewrites_loses_no_row_to_a_sweep_between_two(
    other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewriting, "MOST_RECORDS", 5)
    log, _ = some_days(store=(store := Interrupted()))
    bobs = [one for one in rows(read(log)) if one[1] == "bob"]

    def after_the_first() -> None:
        store.meanwhile = lambda: getattr(rewriter(log), other)()

    store.meanwhile = after_the_first
    with contextlib.suppress(ObjectExists) if other == "sweep" else pytest.raises(ObjectExists):
        rewriter(log).erase("client_key", ["ada"])
    rewriter(log).erase("client_key", ["ada"])
    assert read(log).problems == ()
    assert rows(read(log)) == bobs


def test_pictures_of_a_person_go_before_the_rows_by_which_they_are_found() -> None:
    log, _ = some_days(store=(store := Interrupted()))
    store.put(media_key("plant", "000".rjust(64, "a")), b"ada's face")

    def killed() -> None:
        raise InterruptedError

    store.meanwhile = killed
    with pytest.raises(InterruptedError):
        rewriter(log).erase("client_key", ["ada"])
    assert not list(store.list("log/plant/media/"))
    assert rewriter(log).erase("client_key", ["ada"]).rows == 12


def test_a_number_of_the_log_is_found_however_the_key_is_written() -> None:
    log, _ = some_days()
    assert rewriter(log).find("field.age", ["3"]).rows == rewriter(log).find("field.age", ["3.0"]).rows == 12
    assert rewriter(log).find("field.age", ["33"]).rows == rewriter(log).find("field.age", ["three"]).rows == 0


def test_pictures_are_let_go_with_the_last_row_that_they_came_with() -> None:
    log, _ = some_days()
    names = [f"{day}{part}{one}".rjust(64, "a") for day in range(4) for part in range(3) for one in range(4)]
    for name in names:
        log.store.put(media_key("plant", name), b"a picture")
    again = names[0]  # came once more, later
    log.write([{"received_s": 4 * DAY + 400, "field.photo": again}, {"received_s": 4 * DAY + 401, "field.photo": None}])
    rewriter(log).expire(3 * DAY)
    left = {info.key.rpartition("/")[2] for info in log.store.list("log/plant/media/")}
    assert left == {again, *names[24:]}
    assert read(log).whole


@pytest.fixture
def columns_read(monkeypatch: pytest.MonkeyPatch) -> list[list[str] | None]:
    """Of each file of the log that is opened; None: all."""
    found: list[list[str] | None] = []
    read_columns = pq.ParquetFile.read

    def told(file: pq.ParquetFile, columns: list[str] | None = None) -> pa.Table:
        found.append(columns)
        return read_columns(file, columns)

    monkeypatch.setattr(pq.ParquetFile, "read", told)
    return found


def test_letting_go_of_pictures_reads_the_columns_that_name_them_and_compares_no_two_records(
    columns_read: list[list[str] | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    log, _ = some_days()
    for day in range(4):
        log.store.put(media_key("plant", f"{day}00".rjust(64, "a")), b"a picture")
    compared: list[object] = []

    def told(one: object, other: object) -> bool:
        compared.append(other)
        return one is other

    monkeypatch.setattr(LogFile, "__eq__", told)
    rewriter(log).expire(3 * DAY)
    assert len(list(log.store.list("log/plant/media/"))) == 2
    assert compared == []
    assert columns_read == [["field.photo"]] * 24


def test_where_no_picture_of_the_old_files_is_left_no_later_file_is_opened(
    columns_read: list[list[str] | None],
) -> None:
    log, _ = some_days()
    log.store.put(media_key("plant", "300".rjust(64, "a")), b"of the last day")
    rewriter(log).expire(3 * DAY)
    assert len(columns_read) == 12
    assert len(list(log.store.list("log/plant/media/"))) == 1


def test_a_compaction_brings_back_nobody_who_was_erased_meanwhile() -> None:
    log, _ = some_days(store=(store := Interrupted()))
    store.meanwhile = lambda: rewriter(log).erase("client_key", ["ada"])
    with pytest.raises(ObjectExists):
        rewriter(log).compact()
    rewriter(log).compact()
    assert {client for _, client in rows(read(log))} == {"bob"}
    assert read(log).whole
    assert all(b"ada" not in store.get(info.key) for info in store.list("log/_aside/"))


def test_days_that_are_over_are_one_file_per_version_and_hold_the_same_rows() -> None:
    log, _ = some_days()
    before = rows(read(log))

    gone = rewriter(log).compact()

    after = read(log)
    assert after.whole
    assert rows(after) == before
    assert gone == 3 * 4
    assert len(objects(log)) == 3 * 2 + 6
    assert len(list(log.store.list("log/plant/chain/"))) == 6
    assert rewriter(log).compact() == 0


def test_any_stretch_of_a_compacted_log_reads_as_before() -> None:
    log, _ = some_days()
    whole = read(log).table
    rewriter(log).compact()

    for since_s in (DAY, 2 * DAY + 150, 3 * DAY + 201, 3.5 * DAY, 4 * DAY + 101):
        for length_s in (2.0, 90.0, DAY):
            found = read(log, since_s, since_s + length_s)
            moments = whole["received_s"].to_pylist()
            assert found.whole
            assert found.table["received_s"].to_pylist() == [m for m in moments if since_s <= m < since_s + length_s]


def test_the_writer_goes_on_after_a_rewrite() -> None:
    log, _ = some_days()
    rewriter(log).compact()

    log._chains.clear()  # another process
    log.write([{"received_s": 8 * DAY}])

    assert read(log).whole
    assert read(log).files[-1].number == 25


def test_a_gap_is_a_gap_beside_rewritten_files() -> None:
    log, _ = some_days()
    rewriter(log).compact()

    log.store.delete("log/plant/chain/w1/00000021.json")

    assert not read(log).whole


def test_a_rewrite_that_is_removed_or_forged_leaves_a_gap() -> None:
    log, _ = some_days()
    rewriter(log).compact()
    (first, *_) = [info.key for info in log.store.list("log/plant/rewrites/")]

    log.store.put(first, b"{}")

    assert not read(log).whole


def test_rows_that_are_too_old_are_let_go_and_the_chain_holds() -> None:
    log, _ = some_days()

    gone = rewriter(log).expire(3 * DAY)

    assert gone == 2 * 12
    assert read(log).whole
    assert min(read(log).table["received_s"].to_pylist()) == 3 * DAY
    assert len(objects(log)) == 2 * 6


@pytest.mark.parametrize("compacted", [False, True])
def test_what_one_client_sent_is_erased_and_the_rest_is_whole(compacted: bool) -> None:
    log, said = some_days()
    for number in range(12):
        log.store.put(media_key("plant", f"{number // 3}{number % 3}0".rjust(64, "a")), b"ada's face")
    if compacted:
        rewriter(log).compact()
    kept = [one for one in rows(read(log)) if one[1] == "bob"]

    found = rewriter(log).erase("client_key", ["ada"])

    after = read(log)
    assert after.whole
    assert rows(after) == kept
    assert (found.rows, after.erased, found.media) == (12, 12, 12)
    assert not list(log.store.list("log/plant/media/"))
    assert not any(b"ada" in log.store.get(key) for key in objects(log))
    rewrites = read_rewrites(log.store, log.keys.trusted(), "plant", "answers")
    assert rewrites.became(said[0].sha256) == "erased"
    assert rewrites.became("0" * 64) is None
    assert rewriter(log).erase("client_key", ["ada"]).rows == 0


def test_a_log_that_is_not_whole_does_not_claim_that_all_was_erased() -> None:
    log, said = some_days()
    log.store.put(said[5].object, b"changed")

    with pytest.raises(SecurityError, match="others may be left"):
        rewriter(log).erase("client_key", ["ada"])

    assert "ada" not in read(log).table["client_key"].to_pylist()


def test_an_interrupted_rewrite_is_as_before_or_as_after_and_swept_by_the_next() -> None:
    log, _ = some_days()
    before = rows(read(log))
    deleted: list[str] = []

    class Dies(type(log.store)):  # type: ignore[misc]
        def delete(self, key: str) -> None:
            deleted.append(key)
            raise fault_points.InjectedFault("killed")

    log.store.__class__ = Dies
    with pytest.raises(fault_points.InjectedFault):
        rewriter(log).compact()
    assert deleted
    assert rows(read(log)) == before

    log.store.__class__ = Dies.__bases__[0]
    rewriter(log).compact()
    assert rows(read(log)) == before
    assert len(objects(log)) == 3 * 2 + 6


def test_feedback_is_erased_by_the_requests_it_is_about() -> None:
    log, _ = some_days()
    log.feedback([("r1", 0, "yes", 5.0), ("r2", 0, "no", 5.0)])

    assert rewriter(log, "feedback").erase("request_id", ["r1"]).rows == 1

    found = read_log(log.store, log.keys, "plant", since_s=0.0, until_s=9e9, holds="feedback")
    assert found.whole
    assert found.table["request_id"].to_pylist() == ["r2"]
