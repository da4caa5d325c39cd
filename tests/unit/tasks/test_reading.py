"""The step that reads a delivery: what it keeps, what it says, and what was decided at the first delivery."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mlratchet.models.data.dataset import dataset_parts
from mlratchet.models.data.first_columns import columns_key
from mlratchet.models.data.preprocess import EmptyDatasetError, FirstDelivery, read_dataset_records
from mlratchet.models.data.quarantine import newest_quarantine
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.decisions.judge_again import verdict_on
from mlratchet.models.decisions.stored_evidence import Basis
from mlratchet.models.errors import DataError, SecurityError
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.tasks.steps import validate as step
from mlratchet.tasks.support.row_identity import first_delivery
from mlratchet.tasks.support.work import Work

from tests.unit.tasks.conftest import Road


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a person would see in Prefect, by key."""
    found: dict[str, Any] = {}
    monkeypatch.setattr(step, "show_markdown", lambda key, text, _: found.update({key: text}))
    monkeypatch.setattr(step, "show_table", lambda key, rows, words: found.update({key: (rows, words)}))
    return found


def deliver(road: Road, text: str, name: str = "rows.csv") -> Any:
    road.raw.put(f"t/{name}", text.encode())
    return take_snapshot(road.raw, road.store, prefix="t/")


def work_of(snapshot: Any, first: FirstDelivery | None = None) -> Work:
    return Work(
        key="k" * 64, dataset_id="d" * 64, snapshot_id=snapshot.id, done=None, champion=None, incumbent=None,
        first=first or FirstDelivery(),
    )  # fmt: skip


def table(good: int, bad: int = 0) -> str:
    rows = [f"{n},{n % 7},{n % 5},{'yes' if n % 2 else 'no'},eu" for n in range(good)]
    return "\n".join(["a,b,c,label,region", *rows, *["1,2,3,maybe,eu"] * bad, ""])


def test_what_was_read_is_kept_and_shown(road: Road, shown: dict[str, Any]) -> None:
    run = road.run()
    snapshot = deliver(road, table(100, bad=3))
    checked = step.validate.fn(run, snapshot, work_of(snapshot))
    line = "103 read, 100 used, 3 set aside: 3 unknown_label (rows.csv:102, rows.csv:103, rows.csv:104)"
    assert run.reading == shown["reading"] == line
    rows, words = shown["rejected-records"]
    assert len(rows) == 3
    assert "`ratchet rejects table` prints all" in words
    found = newest_quarantine(road.store, "table")
    assert found is not None
    assert [one["row"] for one in found.rejects()] == [102, 103, 104]
    assert f"quarantine/{checked.digests['quarantine']}.parquet" in {
        info.key for info in road.store.list("quarantine/")
    }


def test_what_was_set_aside_is_kept_when_nothing_is_left(road: Road, shown: dict[str, Any]) -> None:
    run = road.run()
    snapshot = deliver(road, table(0, bad=4))
    with pytest.raises(EmptyDatasetError, match=r"4 set aside; the first: rows\.csv:2: label 'maybe'"):
        step.validate.fn(run, snapshot, work_of(snapshot))
    found = newest_quarantine(road.store, "table")
    assert found is not None
    assert found.count == 4
    assert run.reading == shown["reading"]


@pytest.mark.parametrize(
    ("declared", "bad", "verdict"),
    [
        ((), 5, "pass"),
        ((), 6, "fail"),
        (("{kind: data, measure: rejected_fraction, maximum: 0.2}",), 20, "pass"),
        (("{kind: data, measure: rejected_fraction, maximum: 0}",), 1, "fail"),
        (("{kind: data, measure: rejected_fraction, minimum: 0.01}",), 6, "fail"),  # no limit of what may be lost
    ],
)
def test_more_than_a_twentieth_set_aside_fails_where_no_limit_is_declared(
    road: Road, shown: dict[str, Any], declared: tuple[str, ...], bad: int, verdict: str
) -> None:
    run = road.run(*declared, gate="data")
    snapshot = deliver(road, table(100, bad=bad))
    checked = step.validate.fn(run, snapshot, work_of(snapshot))
    basis = Basis(gate="data", first_model=True, task="classification", class_names=("no", "yes"), now_s=0.0)
    result = verdict_on(run.spec.policy, checked.evidence, basis)
    assert result.verdict == verdict
    assert shown["reading"] == run.reading
    if verdict == "fail":
        reasons = " ".join(one.reason for one in result.checks)
        assert f"{bad} unknown_label (rows.csv:102" in reasons


PRICES = "a;b;c;label;region\n1,5;2;3;yes;eu\n2,25;3;4;no;eu\n"


def test_how_numbers_are_written_is_decided_at_the_first_delivery(road: Road) -> None:
    run = road.run()
    first = first_delivery(run, deliver(road, PRICES))
    assert first.number_marks == {"a": ",", "b": "", "c": ""}
    later = deliver(road, "a;b;c;label;region\n1,234;2;3;yes;eu\n7;3;4;no;eu\n")  # which could be either by itself
    again = first_delivery(run, later)
    assert again == first
    records, _ = read_dataset_records(road.store, later, run.workload, run.spec.source, first=again)
    assert sorted(float(one.x[0]) for one in records) == pytest.approx([1.234, 7])
    other = deliver(road, "a;b;c;label;region\n1.5;2;3;yes;eu\n2.5;2;3;no;eu\n")
    with pytest.raises(DataError, match=r"rows\.csv:2: column 'a': numbers in two .* the decimal mark ','"):
        read_dataset_records(road.store, other, run.workload, run.spec.source, first=again)


def test_an_ambiguous_first_delivery_records_nothing(road: Road) -> None:
    with pytest.raises(DataError, match=r"declare source\.decimal"):
        first_delivery(road.run(), deliver(road, "a;b;c;label;region\n1,234;2;3;yes;eu\n"))
    assert list(road.store.list("columns/")) == []
    declared = road.run(source="{prefix: t/, decimal: {a: ','}}")
    assert first_delivery(declared, deliver(road, "a;b;c;label;region\n1,234;2;3;yes;eu\n")).number_marks["a"] == ","


def test_a_column_that_is_read_later_is_recorded_then(road: Road) -> None:
    two = road.run(parameters='{columns: [a, b], classes: ["no", "yes"]}')
    assert first_delivery(two, deliver(road, PRICES)).number_marks == {"a": ",", "b": ""}
    text = PRICES.replace("3;yes", "3,5;yes")
    three = road.run()
    found = first_delivery(three, deliver(road, text))
    assert found.number_marks == {"a": ",", "b": "", "c": ","}
    assert [info.key for info in road.store.list("columns/")] == ["columns/table.json", "columns/table/2.json"]
    assert first_delivery(three, deliver(road, PRICES)) == found
    assert first_delivery(two, deliver(road, PRICES)).number_marks == {"a": ",", "b": ""}


def test_a_record_of_before_marks_were_is_completed(road: Road) -> None:
    run = road.run()
    first_delivery(run, deliver(road, PRICES))
    document = json.loads(road.store.get(columns_key("table")))
    body = {k: v for k, v in json.loads(document["body"]).items() if k != "number_marks"}
    text = canonical_json(body)
    signature = run.adapters.keys.signer().sign(text, purpose="columns")
    old = {"body": text.decode(), "key_id": signature.key_id, "signature": signature.value}
    road.store.put(columns_key("table"), canonical_json(old))
    assert first_delivery(run, deliver(road, PRICES)).number_marks == {"a": ",", "b": "", "c": ""}
    assert road.store.exists(columns_key("table", 2))


@pytest.mark.parametrize("how", ["edited", "moved"])
def test_a_changed_record_of_marks_is_refused(road: Road, how: str) -> None:
    first_delivery(road.run(parameters='{columns: [a, b], classes: ["no", "yes"]}'), deliver(road, PRICES))
    snapshot = deliver(road, PRICES)
    run = road.run()
    first_delivery(run, snapshot)
    key = columns_key("table", 2)
    data = road.store.get(columns_key("table"))
    if how == "edited":
        data = road.store.get(key).replace(b'\\"c\\":\\"\\"', b'\\"c\\":\\",\\"')
    road.store.put(key, data)
    with pytest.raises(SecurityError):
        first_delivery(run, snapshot)


def test_a_decimal_comma_counts_in_the_identity_of_a_dataset_and_a_point_does_not(road: Road) -> None:
    spec = road.run().spec

    def parts(marks: dict[str, Any]) -> dict[str, Any]:
        return dataset_parts("s", {}, spec.workload, spec.data, spec.source, number_marks=marks)

    assert parts({}) == parts({"a": "", "b": "."}) != parts({"a": ","})
    assert not {"decimal", "delimiter", "quotes"} & set(parts({})["source"])


def test_a_users_reader_that_fails_at_the_first_look_names_its_line(road: Road, tmp_path: Path) -> None:
    run = road.run()

    def fails(*_: Any) -> Any:
        raise KeyError("colour")

    run.workload.identity_columns = fails
    with pytest.raises(DataError, match=r"TableClassifier cannot read .*: KeyError: 'colour' \(test_reading\.py:"):
        first_delivery(run, deliver(road, PRICES))


def test_rows_of_the_log_are_counted_and_those_beyond_the_share_are_no_fault(road: Road, shown: dict[str, Any]) -> None:
    run = road.run(source="{prefix: t/, inference_log: {most_share: 0.1, weight: 3}}", more="quality: {rules: {}}\n")
    road.raw.put("t/inference-log-2026-01-01.csv", table(100).replace(",eu", ",log").encode())
    snapshot = deliver(road, table(100).replace("\n", "\n1", 1))
    checked = step.validate.fn(run, snapshot, work_of(snapshot))
    train = [one for one in checked.records if checked.sides(one) == "train"]
    ours = [one for one in train if one.where.startswith("inference-log-")]
    assert 0 < len(ours) <= 0.1 * len(train) < len(ours) + 1
    assert f"of the inference log {len(ours)} trained on, " in run.reading
    assert "each of the log has weight 3 in the loss" in run.reading
    beyond = sum(one.code == "beyond_log_share" for one in checked.rejects)
    assert f"{beyond} beyond_log_share (inference-log-2026-01-01.csv:" in run.reading
    assert checked.quality.measures["rejected_fraction"].value == 0
