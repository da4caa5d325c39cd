"""A default warm start that cannot be is a fresh begin that says so; a version that was asked for by number is refused
with what to write instead."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mlratchet.models.artifact.manifest import ArtifactManifest, publish_manifest
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.errors import ConfigurationError, SecurityError
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.identity.claim import read_claims, take_claim
from mlratchet.models.pipeline.store import publish_pipeline
from mlratchet.models.ports.storage import ObjectNotFound
from mlratchet.models.registration.record import Registration, registration_key
from mlratchet.models.training.job import PreemptedError, TrainingError, TrainJob
from mlratchet.models.training.observers import Surroundings
from mlratchet.models.training.result import TrainResult
from mlratchet.models.training.run import run_training
from mlratchet.tasks.actions.compare import facts_of
from mlratchet.tasks.steps import register, train
from mlratchet.tasks.steps.train import Trained
from mlratchet.tasks.support import open_version
from safetensors.torch import save

from tests.left_out import most_slow

from .conftest import Road, program
from .test_row_identity import before_the_upgrade

GOOD = (1.0, 1.0, 0.0)


class InThisProcess:
    """A launcher of one rank; remembers what it was told."""

    def __init__(self, road: Road) -> None:
        self.road, self.jobs = road, list[TrainJob]()

    def processes(self, _config: Any) -> int:
        return 1

    def train(self, job: TrainJob, *, on_event: Any) -> TrainResult:
        self.jobs.append(job)
        around = Surroundings(emit=on_event)
        result = run_training(job, self.road.store, rank=0, world=1, device=torch.device("cpu"), around=around)
        assert result is not None
        return result


class Night:
    """One run of the train step, after a champion that was made of `before`."""

    def __init__(self, road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
        self.road, self.run = road, road.run()
        self.before = road.dataset(self.run)
        self.launcher = InThisProcess(road)
        for one in ("show_link", "show_table", "check_hardware"):
            monkeypatch.setattr(train, one, lambda *_: None)
        monkeypatch.setattr(train, "Forwarder", lambda *_, **__: NoEvents())
        monkeypatch.setattr(train, "training_parameters", lambda *_: {})

    def champion(self, module: torch.nn.Module | None = None, **changes: Any) -> Registration:
        data = save((module or program(GOOD)).state_dict())
        self.road.store.put("k", data)
        about = {"dataset_id": self.before.id, "revision": publish_pipeline(self.road.store, self.run.spec), **changes}
        about["weights_sha256"] = digest_bytes(data)
        return self.road.version(program(GOOD), **about)

    def tonight(self, **changes: Any) -> None:
        """The file of tonight: other parts of `source` or `data.split`."""
        spec = self.run.spec
        split = spec.data.split.model_copy(update=changes.pop("split", {}))
        source = spec.source.model_copy(update=changes.pop("source", {}))
        options = {
            "epochs": 1, "global_batch_size": 64, "mode": "fast",
            "checkpoint": spec.train.checkpoint.model_copy(update={"every_steps": 1}), **changes,
        }  # fmt: skip
        self.run.spec = spec.model_copy(
            update={
                "data": spec.data.model_copy(update={"split": split}),
                "source": source,
                "train": spec.train.model_copy(update=options),
            }
        )

    def train(self, champion: Registration | None, dataset: DatasetManifest | None = None, key: str = "new") -> Trained:
        found = dataset or self.road.dataset(self.run, rows=420)
        self.run.adapters.launcher = self.launcher
        self.run.adapters.settings = SimpleNamespace(home=self.road.scratch, prefect_api_url="http://prefect/api")
        self.run.raw = self.road.raw
        work = self.road.work(found, champion)
        return train.train.fn(self.run, type(work)(**{**vars(work), "key": key}))


class NoEvents:
    def __enter__(self) -> Any:
        return lambda _event: None

    def __exit__(self, *_: object) -> None:
        return None


@pytest.fixture
def night(road: Road, monkeypatch: pytest.MonkeyPatch) -> Night:
    return Night(road, monkeypatch)


def delivery(night: Night) -> str:
    """Key of the only one so far."""
    (info,) = night.road.store.list("raw/")
    return info.key


def other_names(night: Night, _patch: Any) -> None:
    night.tonight(source={"id_column": "a"})
    night.road.store.delete(delivery(night))  # else its rows are found by their cells


def other_sides(night: Night, _patch: Any) -> None:
    night.tonight(split={"salt": "fresh rows"})


def no_record(night: Night, _patch: Any) -> None:
    night.road.store.delete(registration_key("w1"))


def no_weights(night: Night, _patch: Any) -> None:
    night.road.store.delete("k")


def no_artifact(_night: Night, patch: pytest.MonkeyPatch) -> None:
    def gone(*_: Any) -> bytes:
        raise ObjectNotFound("mlflow/p/signature.json: no such object")

    patch.setattr(open_version, "fetch_one", gone)


def no_dataset(night: Night, _patch: Any) -> None:
    night.road.store.delete(f"datasets/{night.before.id}.json")


REASONS: list[tuple[Callable[[Night, Any], None], str]] = [
    (other_names, "id_column was None when version 1 was trained, now it is a: .* is not known any more"),
    (other_sides, r"version 1 was trained on \d+ of the \d+ test rows"),
    (no_record, "has no registration record"),
    (no_weights, "the weights of version 1 are gone"),
    (no_artifact, "the artifact of version 1 is gone: .*no such object"),
    (no_dataset, "which rows it was trained on is not known any more"),
]


@pytest.mark.parametrize(("reason", "words"), most_slow(REASONS, keep=2), ids=[one.__name__ for one, _ in REASONS])
def test_the_default_begins_fresh_and_says_why(
    night: Night, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, reason: Any, words: str
) -> None:
    champion = night.champion()
    night.tonight()
    reason(night, monkeypatch)
    known = None if reason is no_record else champion
    trained = night.train(known)
    assert (trained.parent_version, trained.parent_registration) == (None, None)
    assert re.match(f"begins fresh, not from the champion: .*{words}", trained.began_fresh)
    assert trained.began_fresh in caplog.text
    (job,) = night.launcher.jobs
    assert (job.parent_weights_key, trained.result.warm_start) == (None, "")
    (claim,) = read_claims(night.road.store, "new")
    assert (claim.parent_version, claim.began_fresh) == (None, trained.began_fresh)
    again = night.train(known)  # as after a crash between the training and the gate
    assert (again.parent_version, again.began_fresh) == (None, trained.began_fresh)
    assert len(night.launcher.jobs) == 1


@pytest.mark.parametrize(("reason", "words"), most_slow(REASONS, keep=2), ids=[one.__name__ for one, _ in REASONS])
def test_a_version_that_was_asked_for_is_refused_with_what_to_write(
    night: Night, monkeypatch: pytest.MonkeyPatch, reason: Any, words: str
) -> None:
    champion = night.champion()
    night.tonight(warm_start=1)
    reason(night, monkeypatch)
    if reason is no_record:  # it was promoted, so somebody took it away
        with pytest.raises(
            SecurityError, match=r"its registration record, .* is missing; restore registrations/w1\.json"
        ):
            night.train(None)
    else:
        with pytest.raises(ConfigurationError, match=rf"train.warm_start: .*{words}.*; write train.warm_start: none"):
            night.train(champion)
    assert night.launcher.jobs == []


def test_nothing_changed_begins_from_the_champion(night: Night) -> None:
    champion = night.champion()
    night.tonight()
    trained = night.train(champion)
    assert (trained.parent_version, trained.parent_registration) == (1, champion.digest())
    assert trained.began_fresh == ""
    assert night.launcher.jobs[0].parent_weights_key == "k"
    assert trained.result.warm_start.startswith("4 tensors taken")


def test_the_first_run_after_rows_are_named_by_their_cells_begins_fresh(night: Night) -> None:
    """The champion's dataset named rows by the digest of their numbers."""
    champion = night.champion()
    before_the_upgrade(night.road, night.before)
    night.road.store.delete(delivery(night))
    night.tonight()
    now = night.road.dataset(night.run, rows=420)
    document = now.model_dump(mode="json") | {"identity_columns": ["a", "b", "c", "region"]}
    night.road.store.put(f"datasets/{now.id}.json", canonical_json(document))
    trained = night.train(champion, now)
    assert "rows were named otherwise when version 1 was trained" in trained.began_fresh
    assert trained.parent_version is None
    night.tonight(warm_start=1)
    with pytest.raises(ConfigurationError, match=r"rows were named otherwise .*; write train\.warm_start: none"):
        night.train(champion, now, key="by number")


def test_a_changed_registration_stops_the_run_whatever_was_wanted(night: Night) -> None:
    champion = night.champion()
    forged = champion.model_copy(update={"dataset_id": "another"})
    night.road.store.put(registration_key("w1"), canonical_json(forged.model_dump(mode="json", exclude_unset=True)))
    night.tonight()
    with pytest.raises(SecurityError, match="was changed"):
        night.train(forged)
    assert night.launcher.jobs == []


OTHER = torch.nn.Sequential(OrderedDict(convolution=torch.nn.Conv2d(1, 3, 3)))


def test_a_champion_of_which_nothing_fits_is_left_and_the_model_begins_fresh(
    night: Night, caplog: pytest.LogCaptureFixture
) -> None:
    champion = night.champion(OTHER)
    night.tonight()
    trained = night.train(champion)
    words = "begins fresh, not from the champion: version 1: none of the 2 tensors of k fits this model"
    assert trained.began_fresh.startswith(words)
    assert words in caplog.text
    assert (trained.parent_version, trained.parent_registration) == (None, None)
    assert "; " not in trained.began_fresh
    assert (trained.result.warm_start, trained.result.warm_start_tensors) == ("", {})
    night.tonight(warm_start=1)
    with pytest.raises(TrainingError, match=r"none of the 2 tensors of k fits .*train\.warm_start: none"):
        night.train(champion, key="by number")


def test_a_fresh_begin_that_was_killed_still_says_so(night: Night) -> None:
    champion = night.champion(OTHER)
    night.tonight(epochs=3)
    dataset = night.road.dataset(night.run, rows=420)

    class Killed(InThisProcess):
        def train(self, job: TrainJob, *, on_event: Any) -> TrainResult:
            steps = iter(range(4))
            around = Surroundings(emit=on_event, stop_requested=lambda: next(steps, None) is None)
            run_training(job, self.road.store, rank=0, world=1, device=torch.device("cpu"), around=around)
            raise AssertionError

    night.launcher = Killed(night.road)
    with pytest.raises(PreemptedError):
        night.train(champion, dataset)
    night.launcher = InThisProcess(night.road)
    trained = night.train(champion, dataset)
    assert trained.result.resumed_from_step > 0
    assert trained.began_fresh.startswith(
        "begins fresh, not from the champion: version 1: none of the 2 tensors of k fits"
    )
    assert trained.parent_version is None


def test_the_parent_of_an_earlier_attempt_stands(night: Night) -> None:
    champion = night.champion()
    night.tonight()
    take_claim(night.road.store, "new", parent_version=1, owner="a", now_s=0.0)
    night.champion()
    trained = night.train(champion)
    assert (trained.parent_version, trained.began_fresh) == (1, "")
    night.tonight(split={"salt": "fresh rows"})
    take_claim(night.road.store, "other", parent_version=1, owner="a", now_s=0.0)
    with pytest.raises(ConfigurationError, match=r"train.warm_start: version 1 .* write train.warm_start: none"):
        night.train(champion, key="other")


def test_the_record_that_a_decision_signs_and_the_pages_say_why(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    champion = night.champion()
    night.tonight(split={"salt": "fresh rows"})
    dataset = night.road.dataset(night.run, rows=420)
    trained = night.train(champion, dataset)
    manifest = ArtifactManifest(files={}, sizes_bytes={})
    publish_manifest(night.road.store, manifest)
    tags = {register.MANIFEST: manifest.digest()}
    version = SimpleNamespace(version=2, run_id="r", source_uri="s3://mlflow/p", tags=tags)
    monkeypatch.setattr(register, "intact_version", lambda *_: (version, manifest))
    monkeypatch.setattr(register, "load_decision", lambda *_: {"checks": []})
    night.run.refuse_if_stale = lambda: None
    evaluation: Any = SimpleNamespace(metrics={}, rows_key="r", keys={"program": "p"})
    gate: Any = SimpleNamespace(decision="d")
    monkeypatch.setattr(register, "training_parameters", lambda *_: {})
    record = register.create(night.run, night.road.work(dataset, champion), trained, evaluation, gate)
    assert record.began_fresh == trained.began_fresh != ""
    assert record.digest() != record.model_copy(update={"began_fresh": ""}).digest()
    assert f"- Warm start: {trained.began_fresh}" in record.description
    assert facts_of(record)["warm start"] == trained.began_fresh
