"""Studies have their time: what goes on, what was applied and what the next search goes on with is kept."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from mlratchet.infra.machine.scratch import lease_of
from mlratchet.models.garbage.reachable import DAY_S, Retention
from mlratchet.models.identity.claim import take_claim
from mlratchet.models.identity.lease import LeaseKeeper
from mlratchet.models.tuning.study import by_study, publish_finished

from tests.unit.garbage.test_collect import Bucket, sha

SHORT = Retention(study_days=1.0, unfinished_days=1.0)  # `Bucket.collect` looks two days later


class Studies(Bucket):
    """A bucket with searches in it."""

    def study(self, at: int, pipeline: str = "digits", *, finished: bool = True, age_days: float = 0.0) -> str:
        """Two entries of a journal, the claim behind it, one trial and the rows that this alone names."""
        study, trial, rows = (sha(what, at) for what in ("study", "trial", "trial rows"))
        snapshot, dataset, _ = self.data([50 + at], [60 + at], f"study-{at}")
        for work, run in ((study, f"run-{at}"), (trial, f"run-{at}")):
            take_claim(self.store, work, parent_version=None, owner="o", now_s=0.0, run=run, refers=(snapshot, dataset))
        self.write(f"rows/{rows}.safetensors")
        for number in range(3):
            self.write(f"studies/{study}/journal/{number:09d}.json", {"logs": [{"work_key": trial, "rows_key": rows}]})
        if finished:
            publish_finished(self.store, study, pipeline)
        for key in self.of(at):
            self.age(key, age_days)
        return study

    def age(self, key: str, days: float) -> None:
        """Written so long ago."""
        data, at_s = self.store._objects[key]
        self.store._objects[key] = (data, at_s - days * DAY_S)

    def of(self, at: int) -> list[str]:
        """What is there of a study."""
        words = [sha(what, at) for what in ("study", "trial", "trial rows")] + [sha("raw", 50 + at)]
        return [key for key in sorted(self.held()) if any(word in key for word in words)]


@pytest.fixture
def bucket() -> Studies:
    return Studies()


def test_a_study_is_kept_for_its_time_and_then_goes_with_all_that_it_alone_names(bucket: Studies) -> None:
    for at, finished in ((0, False), (1, True), (2, True)):
        bucket.study(at, finished=finished, age_days=2 - at)
    bucket.collect(retention=Retention(study_days=5.0, unfinished_days=1.0))
    assert all(len(bucket.of(at)) == 7 + (at > 0) for at in range(3))
    bucket.collect(retention=SHORT)
    assert (bucket.of(0), bucket.of(1)) == ([], [])
    assert len(bucket.of(2)) == 8
    assert bucket.collect(retention=SHORT) == []


def test_the_newest_finished_study_of_each_pipeline_stays(bucket: Studies) -> None:
    bucket.study(1, age_days=3)
    bucket.study(2, "letters", age_days=9)
    bucket.study(3, age_days=2)
    bucket.study(4, finished=False)  # newer, but the next search has nothing finished to go on with
    bucket.collect(retention=SHORT)
    assert [bool(bucket.of(at)) for at in (1, 2, 3, 4)] == [False, True, True, False]


def test_a_study_that_a_living_run_holds_stays(bucket: Studies) -> None:
    bucket.study(1, finished=False, age_days=3)
    keeper = LeaseKeeper(bucket.store, lease_of("run-1", "digits", "ada"))
    bucket.collect(retention=SHORT)
    held = bucket.of(1)
    assert len([key for key in held if key.startswith("studies/")]) == 3
    keeper.close()
    bucket.collect(retention=SHORT)
    assert bucket.of(1) == []


@pytest.mark.parametrize("state", ["registered", "promoted"])
def test_a_study_whose_best_became_a_version_stays_as_long_as_that_versions_data(bucket: Studies, state: str) -> None:
    for at in (1, 2):
        bucket.study(at, finished=False, age_days=3)
    for at in range(1, 8):
        bucket.work(at, [at], [at], "digits", state)
    decision = f"decisions/{sha('decision', 1)}.json"
    bucket.write(decision, json.loads(bucket.store.get(decision)) | {"actor": by_study("ada", sha("study", 1))})
    bucket.collect(retention=SHORT)
    assert [key for key in bucket.of(1) if "/journal/" in key]
    assert bucket.of(2) == []
    bucket.collect(retention=replace(SHORT, retire_days=1.0))  # the newest five versions never retire
    assert bucket.of(1) == []


def test_a_collector_that_dies_in_a_journal_leaves_the_beginning_of_one(
    bucket: Studies, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = bucket.study(1, finished=False, age_days=3)
    delete = bucket.store.delete

    def dying(key: str) -> None:
        delete(key)
        if "/journal/" in key:
            raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(bucket.store, "delete", dying)
        with pytest.raises(ConnectionError):
            bucket.collect(retention=SHORT)
    left = [key for key in bucket.of(1) if "/journal/" in key]
    assert left == [f"studies/{study}/journal/{number:09d}.json" for number in range(2)]
    bucket.collect(retention=SHORT)
    assert bucket.of(1) == []
