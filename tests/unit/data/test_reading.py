"""What became of every record: the line, the quarantine, and the way to the newest one."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.data.config import DataConfig
from mlratchet.models.data.quality import inspect
from mlratchet.models.data.quarantine import newest_quarantine
from mlratchet.models.data.reading import (
    line_of_dataset,
    printable,
    publish_reading,
    reading_of,
)
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.ports.storage import DigestMismatch
from mlratchet.models.sources.record import Record, Reject, Remark


def record(number: int, *codes: str) -> Record:
    remarks = tuple(Remark(code=code, words="w") for code in codes)
    x = np.asarray([number], dtype=np.float32)
    return Record(id=f"r{number}", x=x, y=number % 2, where=f"rows.csv:{number}", remarks=remarks)


def reject(row: int, code: str, records: int = 1, file: str = "rows.csv") -> Reject:
    where = f"{file}:{row}" if row else file
    return Reject(where=where, code=code, reason=f"{where}: got this", records=records)


RECORDS = [record(number) for number in range(1795)]
REJECTS = [
    reject(17, "unknown_label"), reject(5, "ragged_row"), reject(18, "unknown_label"), reject(6, "ragged_row"),
    reject(40, "unknown_label"),
]  # fmt: skip


def publish(store: MemoryStore, rejects: list[Reject], *, dataset: str = "d" * 64, run: str = "run-1") -> str:
    return publish_reading(
        store, "shop", reading_of(RECORDS, rejects), rejects,
        dataset_id=dataset, snapshot_id="s" * 64, run_id=run, at_s=7.0,
    )  # fmt: skip


def test_the_line_says_how_many_and_by_which_rule_and_where() -> None:
    assert reading_of(RECORDS, REJECTS).line() == (
        "1,800 read, 1,795 used, 5 set aside: 3 unknown_label (rows.csv:17, rows.csv:18, rows.csv:40), "
        "2 ragged_row (rows.csv:5, rows.csv:6)"
    )
    more = [*REJECTS, reject(50, "unknown_label")]
    assert "4 unknown_label (rows.csv:17, rows.csv:18, rows.csv:40, ...)" in reading_of(RECORDS, more).line()
    assert reading_of(RECORDS, []).line() == "1,795 read, 1,795 used, 0 set aside"


def test_a_file_counts_as_its_rows() -> None:
    found = reading_of(RECORDS, [reject(1001, "open_quote", 205)])
    assert found.line() == "2,000 read, 1,795 used, 205 set aside: 205 open_quote (rows.csv:1001)"
    measure = inspect(
        MemoryStore(), RECORDS, [reject(1001, "open_quote", 205)], None, DataConfig(), ("0", "1")
    ).measures["rejected_fraction"]
    assert (measure.value, measure.n) == (pytest.approx(0.1025), 2000)
    assert measure.detail == "205 open_quote (rows.csv:1001); e.g. rows.csv:1001: got this"


def test_remarks_and_decimal_commas_are_told_beside() -> None:
    records = [record(1, "broken_exif"), record(2), record(3, "broken_exif", "converted")]
    line = reading_of(records, [], {"price": ",", "rooms": "", "size": "."}).line()
    assert line == (
        "3 read, 3 used, 0 set aside; remarks: 2 broken_exif (rows.csv:1, rows.csv:3), 1 converted (rows.csv:3); "
        "decimal comma in price"
    )


def test_the_quarantine_holds_every_record_that_was_set_aside() -> None:
    store = MemoryStore()
    many = [reject(row, "unknown_label") for row in range(2, 5002)] + [reject(0, "empty_file", file="b.csv")]
    many[7] = Reject(where="rows.csv:9", code="below_minimum", reason="r", field="price", value="-1")
    digest = publish(store, many)
    table = pq.read_table(io.BytesIO(store.get(f"quarantine/{digest}.parquet", sha256=digest)))
    assert table.column_names == ["key", "row", "field", "rule", "value", "reason", "records"]
    assert table.num_rows == 5001
    found = newest_quarantine(store, "shop")
    assert found is not None
    rejects = list(found.rejects())
    assert rejects[0] == {
        "key": "rows.csv", "row": 2, "field": "", "rule": "unknown_label", "value": "",
        "reason": "rows.csv:2: got this", "records": 1,
    }  # fmt: skip
    assert (rejects[7]["field"], rejects[7]["value"]) == ("price", "-1")
    assert (rejects[-1]["key"], rejects[-1]["row"]) == ("b.csv", None)
    assert (found.about["read"], found.about["used"], found.about["set_aside"]) == (6796, 1795, 5001)
    assert (found.about["run"], found.about["at_s"], found.count) == ("run-1", 7.0, 5001)
    assert found.rules() == {"unknown_label": 4999, "below_minimum": 1, "empty_file": 1}
    assert [one["row"] for one in found.rejects("unknown_label", skip=4997)] == [5000, 5001]


def test_a_quarantine_of_before_is_read() -> None:
    store = MemoryStore()
    reject = {"file": "rows.csv", "row": 2, "rule": "ragged_row", "reason": "r", "records": 1}
    body = canonical_json({"line": "1 read", "snapshot": "s", "rejects": [reject]})
    store.put(f"quarantine/{digest_bytes(body)}.json", body)
    store.put("rejects/shop.json", canonical_json({"quarantine": digest_bytes(body), "run": "r", "at_s": 1.0}))
    found = newest_quarantine(store, "shop")
    assert found is not None
    assert found.about == {"line": "1 read", "snapshot": "s", "run": "r", "at_s": 1.0}
    assert list(found.rejects()) == [
        {"key": "rows.csv", "row": 2, "field": "", "rule": "ragged_row", "value": "", "reason": "r", "records": 1}
    ]


def test_the_newest_delivery_is_shown_and_a_dataset_keeps_its_line() -> None:
    store = MemoryStore()
    assert newest_quarantine(store, "shop") is None
    assert line_of_dataset(store, "d" * 64) == ""
    publish(store, REJECTS)
    publish(store, [], dataset="e" * 64, run="run-2")
    found = newest_quarantine(store, "shop")
    assert found is not None
    assert (found.about["run"], list(found.rejects())) == ("run-2", [])
    assert line_of_dataset(store, "d" * 64) == reading_of(RECORDS, REJECTS).line()


def test_the_same_delivery_read_again_is_the_same_quarantine() -> None:
    store = MemoryStore()
    assert publish(store, REJECTS) == publish(store, REJECTS, run="run-2")
    assert len(list(store.list("quarantine/"))) == 1


@pytest.mark.parametrize("document", [b"[]", b"{}", b'{"quarantine": 1, "run": "r"}', b"not json"])
def test_a_pointer_that_is_none_is_told_as_changed(document: bytes) -> None:
    store = MemoryStore()
    store.put("rejects/shop.json", document)
    with pytest.raises(SecurityError, match=r"rejects/shop\.json"):
        newest_quarantine(store, "shop")


def test_a_changed_quarantine_is_not_shown() -> None:
    store = MemoryStore()
    digest = publish(store, REJECTS)
    store.put(f"quarantine/{digest}.parquet", b'{"rejects": []}')
    with pytest.raises(DigestMismatch):
        newest_quarantine(store, "shop")


def test_what_a_file_is_called_moves_no_terminal() -> None:
    line = reading_of([], [reject(3, "no_file", file="\x1b[2Ja.png")]).line()
    assert "\x1b" not in line
    assert "\\x1b[2Ja.png" in line
    assert printable("Größe\n") == "Größe\\x0a"


def test_a_line_stays_a_line_whatever_things_are_called() -> None:
    rejects = [reject(row, "no_file", file="x" * 1000) for row in range(2, 9)]
    line = reading_of(RECORDS, rejects, {f"price_{n}": "," for n in range(100)}).line()
    assert f"...{'x' * 78}:2" in line
    assert line.endswith("price_16, price_17, ...")
    assert len(line) < 600


def test_nothing_read_is_nothing_set_aside() -> None:
    nothing: Any = reading_of([], [])
    assert nothing.line() == "0 read, 0 used, 0 set aside"
