"""A batch over memory stores: what is published, what is set aside, and that a run that was killed is gone on with."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import torch
from mlratchet.flows.parameters import ScoreParameters
from mlratchet.infra.artifact.exported import load_exported
from mlratchet.infra.artifact.package import complete, export
from mlratchet.infra.registry.memory import MemoryRegistry
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.artifact.signature import InputSpec, Signature
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.errors import ConfigurationError, DataError, InfrastructureError, SecurityError
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.identity.signed_records import RecordStore, verified_record
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.pipeline.store import publish_deployment, publish_pipeline
from mlratchet.models.ports.storage import StorageError
from mlratchet.models.scoring import in_child, job
from mlratchet.models.scoring.in_child import RawRows
from mlratchet.models.scoring.job import manifest_key
from mlratchet.models.scoring.outcome import outcome_of
from mlratchet.models.scoring.pieces import Piece, sums_of
from mlratchet.models.scoring.places import place_of_uri
from mlratchet.models.scoring.rows import FittingRows
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.contract import served_signature
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.sources.pieces import WHERE
from mlratchet.models.sources.record import Reject
from mlratchet.models.tensors.batch import asked_by_name
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.workloads.tabular import TableClassifier
from mlratchet.tasks.actions.score import Scoring, score_batch
from safetensors.torch import save_file

from tests.left_out import most_slow
from tests.unit.audit.conftest import World

PIPELINE = """
name: digits
workload:
  use: mlratchet.models.workloads.tabular:TableClassifier
  parameters: {columns: [a, b, c], classes: ["no", "yes"]}
source: {prefix: t/, format: csv}
gates:
  data: [{kind: data, measure: rows, minimum: 1}]
  candidate: [{kind: absolute, metric: accuracy, minimum: 0.5}]
  staging: [{kind: parity, maximum_difference: 0.1}]
  champion: [{kind: absolute, metric: accuracy, minimum: 0.5}]
"""
IN, OUT = "s3://given/day", "s3://out/scores-of-day"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a table's model."""
    folder = tmp_path_factory.mktemp("artifact")
    workload = TableClassifier(columns=["a", "b", "c"], classes=["no", "yes"], hidden=8)
    torch.manual_seed(0)
    module = workload.prepared_model().eval()
    weights, out = folder / "w.safetensors", folder / "model"
    save_file(module.state_dict(), weights)
    rows = Inputs({"x": np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)})
    export(asked_by_name(module, workload.tensors()), rows, out)
    complete(out, served_signature(workload, ServingConfig()), rows, card="card", weights_file=weights)
    return out


class Batch:
    """A promoted version over a table, and two buckets of a user's."""

    def __init__(self, world: World, out: Path, pipeline: str = PIPELINE) -> None:
        world.files = {str(one.relative_to(out)): one.read_bytes() for one in out.rglob("*") if one.is_file()}
        self.store = RecordStore(world.store, world.keys)
        self.world = world
        spec = parse_pipeline(pipeline, where="digits.yaml")
        world.revision = publish_pipeline(self.store, spec)
        dataset = DatasetManifest(
            id="d", snapshot_id="s", splits={}, rows={}, target_counts={}, index_sha256="",
            number_marks={"a": ".", "b": ".", "c": "."},
        )  # fmt: skip
        self.store.create("datasets/d.json", canonical_json(dataset.model_dump(mode="json")))
        world.promote(9)
        self.predictor = Predictor(
            version=9, generation=1, signature=Signature.from_json((out / "signature.json").read_text()),
            model=load_exported(out),
        )  # fmt: skip
        self.raw, self.out = MemoryStore("given"), MemoryStore("out")
        stores = {"given": self.raw, "out": self.out, "uploads": world.uploads, "store": world.store}
        self.adapters: Any = SimpleNamespace(
            store=self.store, keys=world.keys, ledger=world.ledger, registry=MemoryRegistry(),
            bucket=stores.__getitem__,
            settings=SimpleNamespace(raw_bucket="raw", store_bucket="store", mlflow_bucket="mlflow"),
        )  # fmt: skip

    def deliver(
        self, files: int = 3, rows: int = 40, *, label: bool = False, broken: int = 0
    ) -> dict[str, list[float]]:
        """Files of rows; returns the numbers by place."""
        rng, found = np.random.default_rng(1), {}
        for number in range(files):
            name = f"{number}.csv"
            lines = [f"a,b,c{',label' if label else ''}"]
            for row in range(rows):
                values = rng.normal(size=3).round(4).tolist()
                found[f"{name}:{row + 2}"] = values
                lines.append(",".join(map(str, values)) + (f",{'yes' if values[0] > 0 else 'no'}" if label else ""))
            lines += [f"1,oops,3{',yes' if label else ''}" for _ in range(broken)]
            self.raw.put(f"day/{name}", ("\n".join(lines) + "\n").encode())
        return found

    def table(self) -> Any:
        """What was written, as whoever reads it sees it."""
        keys = [one.key for one in self.out.list("scores-of-day/scores/")]
        return pd.concat([pd.read_parquet(io.BytesIO(self.out.get(key))) for key in keys], ignore_index=True)

    def everything(self) -> dict[str, str]:
        """Name -> digest, the manifest aside, which says when it was signed."""
        found = {one.key: digest_bytes(self.out.get(one.key)) for one in self.out.list()}
        return {key: sha256 for key, sha256 in found.items() if not key.endswith("manifest.json")}


@pytest.fixture
def batch(world: World, artifact: Path) -> Batch:
    return Batch(world, artifact)


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit per object."""
    monkeypatch.setattr(job, "UNIT_OBJECTS", 1)


def test_scores_are_what_the_server_answers_and_every_row_is_told_of(batch: Batch, tmp_path: Path) -> None:
    rows = batch.deliver(broken=1)
    done = score_batch(batch.adapters, "digits", IN, OUT)
    assert done.line() == "123 read, 120 scored, 3 set aside: 3 not_a_number"
    table = batch.table()
    assert sorted(table["id"]) == sorted(rows)
    assert set(table["version"]) == {9}
    served = batch.predictor.predict(Inputs({"x": np.asarray([rows[one] for one in table["id"]], np.float32)}))
    assert table["prediction"].tolist() == [one["class"] for one in served]
    mine = np.asarray([[one["no"], one["yes"]] for one in table["probabilities"]])
    theirs = np.asarray([[one["probabilities"]["no"], one["probabilities"]["yes"]] for one in served])
    assert np.abs(mine - theirs).max() < 1e-6
    aside = pq.read_table(io.BytesIO(batch.out.get("scores-of-day/set-aside/part-000000-000000.parquet"))).to_pylist()
    assert tuple(aside[0][name] for name in ("key", "row", "field", "rule")) == (
        "0.csv",
        42,
        "b",
        "not_a_number",
    )
    for one in batch.out.list():  # as Arrow reads a folder
        path = tmp_path / "read" / one.key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(batch.out.get(one.key))
    assert ds.dataset(tmp_path / "read" / "scores-of-day" / "scores").count_rows() == 120


def test_a_version_that_answers_much_is_scored_in_more_pieces(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = batch.deliver(files=1, rows=200)
    monkeypatch.setattr(in_child, "PIECE_NUMBERS", 100)  # of two classes
    done = score_batch(batch.adapters, "digits", IN, OUT)
    assert (done.scored, done.pieces) == (200, 4)
    assert sorted(batch.table()["id"]) == sorted(rows)


def test_a_day_without_header_and_label_is_scored_by_a_pipeline_whose_file_names_both(
    world: World, artifact: Path
) -> None:
    batch = Batch(world, artifact, PIPELINE.replace("csv}", "csv, header: [a, b, c, label]}"))
    batch.raw.put("day/0.csv", b"1,2,3\n0.5,1,oops\n2,3,4\n")
    done = score_batch(batch.adapters, "digits", IN, OUT)
    assert done.line() == "3 read, 2 scored, 1 set aside: 1 not_a_number"
    assert sorted(batch.table()["id"]) == ["0.csv:1", "0.csv:3"]


def test_the_manifest_is_signed_and_names_inputs_artifact_and_every_file(batch: Batch) -> None:
    batch.deliver(broken=2)
    done = score_batch(batch.adapters, "digits", IN, OUT)
    key, data = manifest_key(done.job), batch.out.get("scores-of-day/manifest.json")
    told = verified_record(data, key, batch.world.keys.trusted(), where=key)
    assert (told["version"], told["artifact"]) == (9, batch.world.records[9].manifest_digest)
    assert [one["key"] for one in told["inputs"]] == ["0.csv", "1.csv", "2.csv"]
    assert told["inputs"][0]["sha256"] == digest_bytes(batch.raw.get("day/0.csv"))
    for one in [*told["scores"], *told["aside"]]:
        assert digest_bytes(batch.out.get(f"scores-of-day/{one['key']}")) == one["sha256"]
    assert (told["read"], told["scored"], told["set_aside"], told["rules"]) == (126, 120, 6, {"not_a_number": 6})


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("writes", most_slow([1, 0, 2, 5], keep=2))
def test_a_run_that_ends_in_the_middle_is_gone_on_with(
    batch: Batch, writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After so many files the process is gone: the one that was being written is there, its record is not."""
    batch.deliver(broken=1)
    whole = score_batch(batch.adapters, "digits", IN, OUT)
    files = batch.everything()
    for store in (batch.out, batch.world.store):
        for one in list(store.list("scores")):
            store.delete(one.key)
    written: list[str] = []
    put = batch.out.put

    def ends(key: str, data: bytes) -> None:
        if len(written) > writes:
            raise StorageError("gone")
        put(key, data)
        written.append(key)
        if len(written) > writes:
            raise StorageError("gone")

    monkeypatch.setattr(batch.out, "put", ends)
    with pytest.raises(StorageError, match="gone"):
        score_batch(batch.adapters, "digits", IN, OUT)
    assert not batch.out.exists("scores-of-day/manifest.json")
    monkeypatch.setattr(batch.out, "put", put)
    asked: list[int] = []
    scored = in_child.scored
    monkeypatch.setattr(in_child, "scored", lambda *told: asked.append(1) or scored(*told))  # type: ignore[func-returns-value]
    done = score_batch(batch.adapters, "digits", IN, OUT)
    assert (done.read, done.scored, done.pieces) == (whole.read, whole.scored, whole.pieces)
    assert batch.everything() == files  # no file twice, none by half
    assert len(batch.table()) == 120
    assert len(asked) == done.pieces - done.found  # nothing finished is scored again
    assert done.found >= writes // 2


def test_a_batch_that_is_finished_is_not_scored_again_but_for_what_was_lost(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch.deliver()
    monkeypatch.setattr(job, "UNIT_OBJECTS", 1)
    first = score_batch(batch.adapters, "digits", IN, OUT)
    again = score_batch(batch.adapters, "digits", IN, OUT)
    assert (first.found, again.found, again.pieces) == (0, 3, 3)
    assert again.scored == first.scored
    before = batch.everything()
    batch.out.put("scores-of-day/scores/part-000001-000000.parquet", b"other bytes")
    mended = score_batch(batch.adapters, "digits", IN, OUT)
    assert mended.found == 2
    assert batch.everything() == before


def test_labels_that_are_there_give_the_metrics(batch: Batch) -> None:
    rows = batch.deliver(label=True)
    done = score_batch(batch.adapters, "digits", IN, OUT)
    table = batch.table()
    right = [
        ("yes" if rows[one][0] > 0 else "no") == said
        for one, said in zip(table["id"], table["prediction"], strict=True)
    ]
    assert done.labelled == 120
    assert done.metrics["accuracy"] == pytest.approx(float(np.mean(right)))
    assert 0 < done.metrics["log_loss"] < 5


def test_places_that_would_damage_something_are_refused(batch: Batch) -> None:
    batch.deliver()
    for source, target, words in (
        (IN, "s3://store/x", "store is one of Ratchet's own buckets"),
        ("s3://mlflow/x", OUT, "mlflow is one of Ratchet's own buckets"),
        (IN, "s3://raw/elsewhere", "scores there would be trained on"),
        (IN, "s3://out", "name a prefix"),
        (IN, "s3://given/day/scores", "overlaps with the input"),
        (IN, "s3://out/../x", "expected|'..'"),
        ("file:///etc", OUT, "expected s3://bucket/prefix"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            score_batch(batch.adapters, "digits", source, target)
    assert list(batch.out.list()) == []
    with pytest.raises(DataError, match="nothing to score"):
        score_batch(batch.adapters, "digits", "s3://given/nothing", OUT)
    batch.out.put("scores-of-day/mine.txt", b"mine")
    with pytest.raises(ConfigurationError, match=r"holds 'mine\.txt'"):
        score_batch(batch.adapters, "digits", IN, OUT)


def test_the_scores_of_another_batch_are_never_mixed_with(batch: Batch) -> None:
    batch.deliver()
    score_batch(batch.adapters, "digits", IN, OUT)
    batch.deliver(files=4)
    with pytest.raises(ConfigurationError, match="the scores of another batch"):
        score_batch(batch.adapters, "digits", IN, OUT)


@pytest.mark.parametrize("spoilt", ["", "unfinished", "changed", "other rows"])
def test_a_batch_that_an_earlier_release_finished_is_finished_and_another_is_told_to_be_its(
    batch: Batch, monkeypatch: pytest.MonkeyPatch, spoilt: str
) -> None:
    batch.deliver(broken=1)
    with monkeypatch.context() as before:
        before.setattr(job, "FORM", 1)
        first = score_batch(batch.adapters, "digits", IN, OUT)
    (scores,) = [one.key for one in batch.out.list("scores-of-day/scores/")]
    if spoilt == "unfinished":
        batch.world.store.delete(manifest_key(first.job))
    elif spoilt == "changed":
        batch.out.put(scores, b"other")
    elif spoilt == "other rows":
        batch.deliver(files=4)
    files = batch.everything()
    monkeypatch.setattr(Scoring, "_unit", lambda *_: pytest.fail("it was scored again"))
    if spoilt:
        with pytest.raises(ConfigurationError, match=r"earlier release.*name an empty prefix, or remove it"):
            score_batch(batch.adapters, "digits", IN, OUT)
    else:
        again = score_batch(batch.adapters, "digits", IN, OUT)
        assert again == replace(first, found=first.pieces)
    assert batch.everything() == files


def test_input_that_changes_meanwhile_ends_the_batch(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    batch.deliver()
    scored = in_child.scored

    def changes(*arguments: Any) -> bytes:
        batch.raw.put("day/9.csv", b"a,b,c\n1,2,3\n")
        return scored(*arguments)

    monkeypatch.setattr(in_child, "scored", changes)
    with pytest.raises(DataError, match="changed while it was scored"):
        score_batch(batch.adapters, "digits", IN, OUT)
    assert not batch.out.exists("scores-of-day/manifest.json")


def test_a_batch_of_which_nothing_can_be_scored_says_why_of_each_row(batch: Batch) -> None:
    batch.raw.put("day/0.csv", b"a,b\n1,2\n3,4\n")
    with pytest.raises(DataError, match="0 scored, 2 set aside: 2 unreadable_file"):
        score_batch(batch.adapters, "digits", IN, OUT)
    (aside,) = pq.read_table(
        io.BytesIO(batch.out.get("scores-of-day/set-aside/part-000000-000000.parquet"))
    ).to_pylist()
    assert "column 'c' is missing" in aside["reason"]
    assert aside["records"] == 2


def test_changed_bytes_of_the_version_score_nothing(batch: Batch, classified: Callable[..., Any]) -> None:
    batch.deliver()
    key = next(one.key for one in batch.world.uploads.list() if one.key.endswith("m-9/artifacts/data/model.pt2"))
    data = bytearray(batch.world.uploads.get(key))
    data[-1] ^= 1
    batch.world.uploads.put(key, bytes(data))
    with pytest.raises(SecurityError):
        score_batch(batch.adapters, "digits", IN, OUT)
    batch.adapters.keys = World(classified).keys  # of somebody else
    with pytest.raises((SecurityError, ConfigurationError)):
        score_batch(batch.adapters, "digits", IN, OUT)
    assert not list(batch.out.list("scores-of-day/scores/"))


def test_what_a_child_hands_back_is_checked_before_it_is_published(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch.deliver()
    from safetensors.numpy import save

    words = np.frombuffer(json.dumps({"where": ["a"], "ids": [], "rejects": []}).encode(), np.uint8)
    monkeypatch.setattr(in_child, "scored", lambda *_: save({"words": words}))
    with pytest.raises(ConfigurationError, match="1 places, 0 ids"):
        score_batch(batch.adapters, "digits", IN, OUT)
    assert not list(batch.out.list("scores-of-day/scores/"))


def test_no_place_that_a_deployed_pipeline_reads_is_an_output(batch: Batch) -> None:
    batch.deliver()
    moved = PIPELINE.replace("{prefix: t/,", "{bucket: out, prefix: moved/,")
    labels = "serving: {labels: {bucket: out, prefix: truth/}}\n"
    other = PIPELINE.replace("name: digits", "name: other").replace("{prefix: t/,", "{bucket: out, prefix: theirs/,")
    for name, text in (("digits", moved + labels), ("other", other)):
        revision = publish_pipeline(batch.store, parse_pipeline(text, where=f"{name}.yaml"))
        publish_deployment(batch.store, name, revision, actor="ada", at_s=1.0)
    for prefix in ("moved", "moved/day", "truth", "theirs/x"):
        with pytest.raises(ConfigurationError, match="a pipeline reads"):
            score_batch(batch.adapters, "digits", IN, f"s3://out/{prefix}")


@pytest.mark.parametrize("place", ["s3://AKIA1:SECRET@out/x", "s3://Out_1/x", "s3://out:9000/x", "http://k:SECRET@h/x"])
def test_a_place_with_keys_or_without_a_bucket_is_refused_and_not_repeated(place: str) -> None:
    for refused in (lambda: place_of_uri(place, "input"), lambda: ScoreParameters(source=place, target=OUT)):
        with pytest.raises(
            ValueError if refused.__code__.co_names[0] == "ScoreParameters" else ConfigurationError
        ) as e:
            refused()
        assert "SECRET" not in str(e.value)
    assert ScoreParameters(source=IN, target=OUT).target == OUT


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("ends", [KeyboardInterrupt(), StorageError("gone")])
def test_what_waits_is_not_begun_once_a_batch_ends(
    batch: Batch, ends: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch.deliver(files=6)
    begun: list[int] = []
    unit = Scoring._unit

    def counted(self: Scoring, number: int, *more: Any) -> Any:
        begun.append(number)
        if number == 0 and isinstance(ends, StorageError):
            raise ends
        return unit(self, number, *more)

    def interrupted(*_: int) -> None:
        if isinstance(ends, KeyboardInterrupt):
            raise ends

    monkeypatch.setattr(Scoring, "_unit", counted)
    monkeypatch.setattr("mlratchet.tasks.actions.score.TELL_S", 0.0)
    with pytest.raises(type(ends)):
        score_batch(batch.adapters, "digits", IN, OUT, tell=interrupted)
    assert len(begun) < 6


def test_a_unit_of_a_batch_that_was_stopped_ends_at_its_next_piece(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch.deliver(rows=200)
    monkeypatch.setattr(in_child, "PIECE_ROWS", 200)
    written, put, running = list[str](), batch.out.put, list[Scoring]()
    run = Scoring.run
    monkeypatch.setattr(Scoring, "run", lambda self: running.append(self) or run(self))  # type: ignore[func-returns-value]

    def stops(key: str, data: bytes) -> None:
        put(key, data)
        written.append(key)
        running[0]._stopped = True

    monkeypatch.setattr(batch.out, "put", stops)
    with pytest.raises(InfrastructureError, match="stopped; the same command goes on"):
        score_batch(batch.adapters, "digits", IN, OUT)
    assert len(written) == 1
    monkeypatch.setattr(batch.out, "put", put)
    done = score_batch(batch.adapters, "digits", IN, OUT)
    assert (done.pieces, done.found, done.scored) == (3, 1, 600)


def test_a_label_whose_square_is_infinite_costs_its_metric_and_no_row() -> None:
    signature = Signature(task="regression", classes=(), input=InputSpec(kind="tensor", shape=(2,), dtype="float32"))
    with np.errstate(over="ignore"):
        sums = sums_of(np.zeros((2, 1), np.float32), np.asarray([1e200, 1.0]), signature)
    assert all(np.isfinite(one).all() for one in sums.values())
    assert sums
    canonical_json(sums)
    fine = sums_of(np.zeros((2, 1), np.float32), np.asarray([2.0, 1.0]), signature)
    pieces = [Piece(scored=2, set_aside=0, labelled=2, sums=one) for one in (sums, fine)]
    asked: Any = SimpleNamespace(id="j", pipeline="p", version=1, source="s", target="t")
    found = outcome_of(asked, signature, pieces, found=0)
    assert set(found.metrics) <= set(sums)
    assert (found.scored, found.labelled) == (4, 4)


def test_tensors_are_scored_as_they_come_and_not_held_until_the_last() -> None:
    made: list[int] = []

    class Reader:
        def read(self, _table: pa.Table, _notation: None) -> Any:
            for number in range(2):
                made.append(number)
                yield FittingRows(
                    x=Inputs({"x": np.zeros((1, 3), np.float32)}),
                    where=[f"t:{number + 1}"],
                    ids=[f"t:{number + 1}"],
                    y=None,
                )
            raise DataError("broken")

    table = pa.table({WHERE: ["t:1", "t:2", "t:3"]})
    rows = in_child._rows([RawRows(table, None)], Reader())  # type: ignore[arg-type]
    assert next(rows).where == ["t:1"]
    assert made == [0]
    *_, last = rows
    assert isinstance(last, Reject)
    assert (last.where, last.records) == ("t:3", 1)
