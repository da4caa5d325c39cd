"""A holdout that is asked again and again wears out: how often is counted by rows, not by datasets."""

from __future__ import annotations

import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.gates.holdout import SKETCH, overlap, record_use, sketch_of


def ids(start: int, stop: int) -> list[str]:
    return [f"row-{n}" for n in range(start, stop)]


def test_each_work_key_counts_once_however_often_it_is_judged(store: MemoryStore) -> None:
    rows = ids(0, 500)
    assert record_use(store, "p", "k1", rows) == 0
    assert record_use(store, "p", "k1", rows) == 0
    assert [record_use(store, "p", key, list(reversed(rows))) for key in ("k2", "k2", "k3", "k1")] == [1, 1, 2, 2]
    assert record_use(store, "other", "k9", rows) == 0


def test_a_delivery_that_grew_is_recognised_by_its_rows(store: MemoryStore) -> None:
    record_use(store, "p", "k1", ids(0, 300))
    assert record_use(store, "p", "k2", ids(0, 600)) == 1  # half of these rows gated before
    assert record_use(store, "p", "k3", ids(0, 700)) == 1  # k1 saw less than half of them, k2 most
    assert record_use(store, "p", "k4", ids(5000, 5600)) == 0
    assert record_use(store, "p", "k5", ids(0, 100)) == 3  # all of them were in the three


@pytest.mark.parametrize(("share", "tolerance"), [(1.0, 0.0), (0.7, 0.03), (0.5, 0.03), (0.1, 0.03), (0.0, 0.0)])
def test_the_overlap_of_many_rows_is_found_from_their_sketches(share: float, tolerance: float) -> None:
    n = 20_000
    ours = sketch_of(ids(0, n))
    assert len(ours) == SKETCH
    kept = round(n * share)
    assert overlap(ours, sketch_of(ids(n - kept, 2 * n - kept))) == pytest.approx(share, abs=tolerance)


def test_a_subset_of_far_more_rows_is_recognised() -> None:
    many = sketch_of(ids(0, 60_000))
    assert overlap(sketch_of(ids(0, 6000)), many) == 1.0
    assert overlap(sketch_of(ids(70_000, 76_000)), many) == 0.0
    assert overlap(sketch_of(ids(0, 10)), sketch_of([])) == 0.0
