"""A side that is mapped from copies gives the rows, batches and words of one that is read whole."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.infra.storage.shard_cache import ShardCache
from mlratchet.models.data import shards
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.data.mapped import MappedSide
from mlratchet.models.data.shards import load_split, write_split
from mlratchet.models.errors import SecurityError
from mlratchet.models.evaluation.join import columns_for
from mlratchet.models.evaluation.perturb import GaussianNoise, MissingInput, perturb
from mlratchet.models.evaluation.score import score
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.metrics.rows import load_rows, save_rows
from mlratchet.models.ports.storage import DigestMismatch
from mlratchet.models.sources.record import InputSpec, Split
from mlratchet.models.tensors import sharded
from mlratchet.models.tensors.batch import TensorRows
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.tensors.sharded import ShardedArray, ShardedInputs
from mlratchet.models.tensors.spec import TensorSpec
from mlratchet.models.tensors.words import Words
from mlratchet.models.training import stretches
from mlratchet.models.training.batches import Plan, StepRows
from mlratchet.models.training.windows import hold_for_training
from mlratchet.models.workloads.tabular import TableClassifier

KINDS = {
    "one": (TensorSpec(name="x", shape=(3,), dtype="float32"),),
    "named": (
        TensorSpec(name="picture", shape=(2, 2), dtype="uint8"),
        TensorSpec(name="words", shape=(), dtype="int64", ragged=True),
        TensorSpec(name="sound", shape=(2,), dtype="float32", ragged=True),
    ),
}
COUNT = 57


def rows(kind: str) -> Split:
    rng = np.random.default_rng(0)
    examples = [
        {
            spec.name: (rng.normal(size=(*([at % 5] if spec.ragged else []), *spec.shape)) * 9).astype(spec.dtype)
            for spec in KINDS[kind]
        }
        for at in range(COUNT)
    ]
    columns = {"region": ["eu" if at % 3 else "us" for at in range(COUNT)]}
    y = rng.integers(0, 3, COUNT)
    return Split(ids=[f"r{at}" for at in range(COUNT)], x=Inputs.stack(examples, KINDS[kind]), y=y, columns=columns)


@pytest.fixture(params=["one", "named"])
def sides(request: pytest.FixtureRequest, tmp_path: Path, store: MemoryStore) -> tuple[Split, Split]:
    """In memory, and mapped."""
    refs = write_split(store, rows(request.param), rows_per_shard=10)
    manifest = DatasetManifest(
        id="d" * 64, snapshot_id="s", splits={"test": refs}, rows={}, target_counts={}, index_sha256=""
    )
    plain = load_split(store, manifest, "test")
    store.files = ShardCache(tmp_path / "shards", store, bound_bytes=1 << 20)  # type: ignore[attr-defined]
    assert isinstance(load_split(store, manifest, "test").x, Inputs)  # a small one stays in memory
    assert not isinstance(load_split(store, manifest, "test").x, ShardedInputs)
    store.files = ShardCache(tmp_path / "shards", store, bound_bytes=1 << 20, smallest_bytes=0)  # type: ignore[attr-defined]
    return plain, load_split(store, manifest, "test")


def same(ours: Inputs, theirs: Inputs) -> bool:
    mine, other = ours.arrays(), theirs.arrays()
    return mine.keys() == other.keys() and all(
        one.dtype == other[name].dtype and np.array_equal(one, other[name]) for name, one in mine.items()
    )


def test_the_same_rows_wherever_they_are_asked_for(sides: tuple[Split, Split]) -> None:
    plain, mapped = sides
    assert isinstance(mapped.x, ShardedInputs)
    assert isinstance(mapped.y, ShardedArray)
    rng = np.random.default_rng(1)
    for places in (rng.integers(0, COUNT, 40), rng.permutation(COUNT)[:5], np.arange(9, 12), np.zeros(0, np.int64)):
        assert same(mapped.x.take(places), plain.x.take(places))
        assert np.array_equal(mapped.y[places], plain.y[places])
    for part in (slice(0, 7), slice(8, 35), slice(50, 900), slice(5, 5), slice(None)):
        assert same(mapped.x.rows(part), plain.x.rows(part))
        assert np.array_equal(mapped.y[part], plain.y[part])
    assert (mapped.x.specs, mapped.x.names, mapped.x.is_one, mapped.x.ragged, len(mapped.x)) == (
        plain.x.specs, plain.x.names, plain.x.is_one, plain.x.ragged, len(plain.x)
    )  # fmt: skip
    assert same(Inputs(dict(mapped.x.columns)), plain.x)  # read whole
    for ours, theirs in zip(mapped.x.examples(), plain.x.examples(), strict=True):
        assert str(ours) == str(theirs)
    with pytest.raises(IndexError, match="of 57 rows"):
        mapped.x.take([COUNT])
    assert mapped.y.sum() == plain.y.sum()
    assert np.array_equal(mapped.y * 2 == plain.y * 2, np.ones(COUNT, bool))


def test_the_same_words(sides: tuple[Split, Split]) -> None:
    plain, mapped = sides
    assert mapped.ids == plain.ids
    assert list(mapped.ids) == plain.ids
    assert (mapped.ids[13], mapped.ids[-1], mapped.ids[5:8]) == ("r13", "r56", ["r5", "r6", "r7"])
    assert {name: list(values) for name, values in mapped.columns.items()} == plain.columns
    assert mapped.columns.get("region") == plain.columns["region"]
    assert mapped.columns.get("@group", []) == []
    assert np.asarray(mapped.columns["region"]).tolist() == plain.columns["region"]


class Copied:
    """As a loader worker has them: paths of what was copied."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, key: str, sha256: str) -> Path:
        return self.folder / sha256


def test_the_same_batches_also_in_a_process_that_was_given_the_rows(sides: tuple[Split, Split], tmp_path: Path) -> None:
    plain, mapped = sides
    assert isinstance(mapped.x, ShardedInputs)
    pieces = pieces_anew(mapped.x)
    pieces._files = Copied(tmp_path / "shards")  # type: ignore[assignment]
    mapped.x.take(np.arange(COUNT))
    received = pickle.loads(pickle.dumps(ShardedInputs(pieces)))
    places = torch.from_numpy(np.random.default_rng(2).permutation(COUNT)[:16])
    wanted = TensorRows(plain.x).take(places)
    for inputs in (mapped.x, received):
        got = TensorRows(inputs).take(places)
        if isinstance(wanted, torch.Tensor):
            assert isinstance(got, torch.Tensor)
            assert torch.equal(got, wanted)
        else:
            assert list(got) == list(wanted)
            assert all(torch.equal(got[name], wanted[name]) for name in wanted)
    if TensorRows(plain.x).is_ragged:
        lengths = TensorRows(plain.x).lengths()
        assert np.array_equal(TensorRows(mapped.x).lengths(), lengths)
        assert np.array_equal(TensorRows(mapped.x).lengths(places.numpy()), lengths[places.numpy()])


def test_outputs_of_mapped_rows_are_stored_as_the_same_bytes(sides: tuple[Split, Split], store: MemoryStore) -> None:
    def model(x: Any) -> torch.Tensor:
        first = x if isinstance(x, torch.Tensor) else x["picture"]
        return first.float().flatten(1)[:, :2]

    plain, mapped = (score(model, one, batch_rows=8) for one in sides)
    key = save_rows(store, plain)
    assert save_rows(store, mapped) == key
    assert load_rows(store, key).ids == plain.ids


def test_a_copy_that_was_changed_while_nobody_looked_is_read_again(sides: tuple[Split, Split], tmp_path: Path) -> None:
    plain, mapped = sides
    for file in (tmp_path / "shards").iterdir():
        if len(file.name) == 64:
            file.chmod(0o600)
            with file.open("r+b") as copy:
                copy.seek(-1, 2)
                copy.write(b"\xff")
    assert isinstance(mapped.x, ShardedInputs)
    again = ShardedInputs(pieces_anew(mapped.x))
    assert same(again.take(np.arange(COUNT)), plain.x)


def pieces_anew(x: ShardedInputs) -> MappedSide:
    pieces = x.pieces
    assert isinstance(pieces, MappedSide)
    return MappedSide(pieces._files, pieces._refs, most_open=2)


def test_a_shard_of_other_bytes_is_refused(sides: tuple[Split, Split], store: MemoryStore, tmp_path: Path) -> None:
    _, mapped = sides
    assert isinstance(mapped.x, ShardedInputs)
    side = pieces_anew(mapped.x)
    store.put(side._refs[3].key, b"other")
    with pytest.raises(DigestMismatch):
        side.inputs(3)
    lying = b"\x10" + bytes(7) + b'{"x":{"dtype":1}'
    store.put(f"shards/{digest_bytes(lying)}.safetensors", lying)
    ref = shards.ShardRef(sha256=digest_bytes(lying), rows=10)
    with pytest.raises(SecurityError, match="is no shard"):
        MappedSide(side._files, [ref], most_open=2).inputs(0)


def test_rows_are_changed_and_asked_for_block_by_block(
    sides: tuple[Split, Split], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharded, "BLOCK_BYTES", 1)
    monkeypatch.setattr(sharded, "LEAST_ROWS", 16)
    plain, mapped = sides
    assert [block.stop for block in sharded.blocks_of(mapped.x)] == [16, 32, 48, 57]
    assert sharded.blocks_of(plain.x) == [slice(0, 57)]
    met: list[int] = []

    def change(number: int, x: Inputs) -> Inputs:
        met.append(number)
        return x

    assert same(sharded.changed(plain.x, change), plain.x)
    lazy = sharded.changed(mapped.x, change)
    assert met == [0, 0]
    parts = [lazy.rows(slice(at, at + 8)) for at in range(0, COUNT, 8)]
    assert same(Inputs.concat(parts), plain.x)
    assert met == [0, 0, 1, 2, 3]  # each once


def test_a_perturbation_of_mapped_rows_is_the_same_every_time_and_keeps_what_it_does(
    sides: tuple[Split, Split], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, mapped = sides
    if not plain.x.is_one:
        pytest.skip("rows of one table")
    monkeypatch.setattr(sharded, "BLOCK_BYTES", 1)
    monkeypatch.setattr(sharded, "LEAST_ROWS", 16)
    table = InputSpec(kind="table", shape=(3,), dtype="float32", columns=("a", "b", "c"))
    gone = perturb(mapped, MissingInput(kind="missing_input", columns=("b",), fill="zero"), table)
    assert same(
        gone.x.rows(slice(None)),
        perturb(plain, MissingInput(kind="missing_input", columns=("b",), fill="zero"), table).x,
    )
    noise = GaussianNoise(kind="gaussian_noise", sigma=0.5)
    first, again = (perturb(mapped, noise, table).x.rows(slice(None)).array for _ in range(2))
    assert np.array_equal(first, again)
    moved = first - plain.x.array
    assert not np.array_equal(moved[:16], moved[16:32])  # each block has random numbers of its own
    assert 0.3 * 9 < moved.std() < 0.7 * 9
    order = InputSpec(kind="table", shape=(3,), dtype="float32", columns=("c", "a", "b"))
    swapped = columns_for(mapped.x, table, order).rows(slice(None))
    assert np.array_equal(swapped.array, plain.x.array[:, [2, 0, 1]])


@pytest.mark.parametrize("words", [[], ["a"] * 10, [f"é{at}" for at in range(70_000)], ["", "\ud800"]])
def test_words_are_a_list_in_fewer_bytes(words: list[str]) -> None:
    held = Words(iter(words))
    assert held == words
    assert list(held) == words
    assert held[2:5] == words[2:5]
    assert held.nbytes <= 8 * len(words) + sum(len(word.encode(errors="surrogatepass")) for word in words)
    if words:
        assert (held[0], held[-1]) == (words[0], words[-1])
    with pytest.raises(IndexError):
        held[len(words)]


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux tells how memory was advised")
def test_small_rows_in_random_order_are_read_without_what_lies_around_them(sides: tuple[Split, Split]) -> None:
    """Where memory is short, a row would else cost 128 KB of the file, and push out as much of the others."""
    x = sides[1].x
    assert isinstance(x, ShardedInputs)
    pieces = x.pieces
    assert isinstance(pieces, MappedSide)
    rows = np.arange(len(x))
    expected = x.take(rows)

    def advised() -> set[bool]:
        parts = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text(), flags=re.MULTILINE)
        return {" rr" in part for part in parts for ref in pieces._refs if ref.sha256 in part}

    assert advised() == {False}
    hold_for_training(pieces, None, room_bytes=1 << 40)
    assert same(x.take(rows), expected)
    assert True in advised()  # what was looked at before may still be held
    made, told = pieces.__reduce__()
    assert made(*told)._at_random  # of a loader's worker, too
    hold_for_training(pieces, 1, room_bytes=1 << 40)  # whole shards are read one after the other
    assert not pieces._at_random


@pytest.mark.parametrize(("window", "stretch"), [(None, 1), (None, 700), (None, 2 << 20), (2, 700), (2, 2 << 20)])
def test_the_steps_are_the_same_drawn_one_by_one_and_several_at_once(
    sides: tuple[Split, Split], window: int | None, stretch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stretches, "STRETCH_BYTES", stretch)
    plain, mapped = sides
    assert isinstance(mapped.x, ShardedInputs)
    plan = Plan(
        rows=COUNT, batch=8, smallest=1, seed=5, shards=3, first=1, count=2, window=window,
        sizes=pieces_anew(mapped.x).sizes,
    )  # fmt: skip
    workload = TableClassifier(columns=["a"], classes=["0", "1", "2"])
    ours, theirs = (StepRows(rows, plan, workload) for rows in (mapped, plain))
    steps = plan.order().per_epoch
    for step in (*range(2 * steps + 1), 3, 2, 3, steps):
        (mine, got), (other, wanted) = ours[step], theirs[step]
        assert mine == other
        for (x, y, _), (x_there, y_there, _) in zip(got, wanted, strict=True):
            pairs = [(x, x_there)] if isinstance(x, torch.Tensor) else [(x[name], x_there[name]) for name in x_there]
            for one, there in [*pairs, (y, y_there)]:
                assert (one.dtype, one.shape, one.data_ptr() % 64) == (there.dtype, there.shape, 0)
                assert torch.equal(one, there)
    assert len(ours._stretches._parts) == 1 or stretch > 1  # type: ignore[union-attr]  # they are mapped
