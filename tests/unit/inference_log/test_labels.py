"""Labels are joined by request and row; which count, which bound, and how much they cover."""

from __future__ import annotations

import pyarrow as pa
import pytest
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.inference_log.columns import LABELS
from mlratchet.models.inference_log.config import LabelsConfig
from mlratchet.models.inference_log.labels import Labelled, LabelRequest, labelled
from mlratchet.models.inference_log.reading import read_log

from tests.unit.inference_log.logs import Log

HOUR = 3600.0
NOW_S = 100 * HOUR


@pytest.fixture
def log() -> Log:
    log = Log()
    log.write([{"received_s": (one + 1) * HOUR, "request_id": f"r{one}"} for one in range(90)])
    log.write([{"received_s": 91 * HOUR, "request_id": "bad", "status": 422}])
    return log


def labels_of(log: Log, config: LabelsConfig | None = None, brought: pa.Table | None = None) -> Labelled:
    stretch = read_log(log.store, log.keys, "plant", since_s=0.0, until_s=95 * HOUR)
    return labelled(stretch, log.store, log.keys, config or LabelsConfig(), now_s=NOW_S, brought=brought)


def request(log: Log, rows: tuple[tuple[str, int, float], ...], at_s: float) -> None:
    one = LabelRequest(pipeline="plant", at_s=at_s, rows=rows)
    RecordStore(log.store, log.keys).create(one.key(), one.body())


def test_without_labels_there_is_none_and_the_coverage_says_so(log: Log) -> None:
    found = labels_of(log)

    assert (found.table.num_rows, found.rows, found.coverage) == (0, 90, 0.0)


def test_labels_come_by_request_and_row_and_only_for_what_was_answered(log: Log) -> None:
    log.feedback(
        [("r1", 0, "yes", 5 * HOUR), ("r1", 1, "no", 5 * HOUR), ("bad", 0, "no", 95 * HOUR), ("x", 0, "no", 1)]
    )

    found = labels_of(log).table.to_pylist()

    assert [(one["request_id"], one["row"], one["label"], one["by"], one["probability"]) for one in found] == [
        ("r1", 0, "yes", "volunteered", None)
    ]


def test_the_first_label_counts_and_a_conflict_is_told(log: Log) -> None:
    log.feedback([("r1", 0, "yes", 5 * HOUR), ("r2", 0, "yes", 5 * HOUR)])
    log.feedback([("r1", 0, "no", 6 * HOUR), ("r2", 0, "yes", 6 * HOUR)])

    found = labels_of(log)

    assert found.table["label"].to_pylist() == ["yes", "yes"]
    assert found.conflicts == 1


def test_only_declared_writers_count(log: Log) -> None:
    log.feedback([("r1", 0, "yes", 5 * HOUR)], token="clinic")
    log.feedback([("r2", 0, "yes", 5 * HOUR)], token="mallory")

    assert labels_of(log, LabelsConfig(writers=("clinic",))).table["request_id"].to_pylist() == ["r1"]


def test_coverage_is_of_what_had_the_time_to_be_labelled(log: Log) -> None:
    log.feedback([(f"r{one}", 0, "yes", 95 * HOUR) for one in (0, 1, 2, 89)])

    found = labels_of(log, LabelsConfig(after_hours=50))

    assert (found.watermark_s, found.due, found.due_labelled) == (50 * HOUR, 49, 3)
    assert found.coverage == pytest.approx(3 / 49)


def test_drawn_rows_come_first_in_the_order_of_request_with_and_without_a_label(log: Log) -> None:
    request(log, (("r7", 0, 0.5), ("r3", 0, 0.25)), at_s=92 * HOUR)
    request(log, (("r3", 0, 0.9), ("r1", 0, 1.0)), at_s=93 * HOUR)
    log.feedback([("r5", 0, "no", 93 * HOUR), ("r3", 0, "yes", 94 * HOUR)])

    found = labels_of(log, LabelsConfig(after_hours=5))

    told = [(one["request_id"], one["label"], one["by"], one["probability"]) for one in found.table.to_pylist()]
    assert told == [
        ("r7", None, "requested", 0.5), ("r3", "yes", "requested", 0.25), ("r1", None, "requested", 1.0),
        ("r5", "no", "volunteered", None),
    ]  # fmt: skip
    assert (found.drawn, found.drawn_labelled) == (3, 1)


def test_a_request_that_nobody_of_ours_signed_draws_nothing(log: Log) -> None:
    one = LabelRequest(pipeline="plant", at_s=1.0, rows=(("r1", 0, 0.001),))
    log.store.put(one.key(), one.body())

    found = labels_of(log)

    assert found.table.num_rows == 0
    assert "label-requests/plant" in found.problems[0]


def test_labels_that_came_after_now_do_not_count(log: Log) -> None:
    log.feedback([("r1", 0, "yes", NOW_S + 1)])

    assert labels_of(log).table.num_rows == 0


def test_labels_brought_as_objects_join_those_of_feedback(log: Log) -> None:
    brought = pa.table([["r1", "r2"], [0, 0], ["a", "b"], [5 * HOUR] * 2, ["labels/x.csv"] * 2], schema=LABELS)
    log.feedback([("r1", 0, "first", 4 * HOUR)])

    assert labels_of(log, brought=brought).table["label"].to_pylist() == ["first", "b"]


def test_a_gap_in_the_feedback_is_told(log: Log) -> None:
    log.feedback([("r1", 0, "yes", 5 * HOUR)])
    log.feedback([("r2", 0, "yes", 6 * HOUR)])
    log.store.delete("log/plant/feedback/chain/w1/00000001.json")

    assert "is missing" in labels_of(log).problems[0]
