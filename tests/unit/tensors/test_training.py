"""Workloads with several tensors, and with ragged ones, train as any other: exactly, again after a stop, and fast."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.config import WorkloadRef
from mlratchet.models.tensors.batch import asked_by_name, batch_of
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.job import PreemptedError
from mlratchet.models.training.named_tensors import head_tensors
from mlratchet.models.training.order import SampleOrder
from mlratchet.models.training.queries import split_queries
from mlratchet.models.training.rehearsal import Rehearsal, rehearse
from mlratchet.models.workloads.loading import load_workload

from tests.conftest import REPOSITORY
from tests.unit.tensors.conftest import HERE, Train, dataset_of
from tests.unit.tensors.named_models import lines
from tests.unit.tensors.two_ranks import trained_by_two


@pytest.mark.parametrize("use", ["TwoTowers", "Texts", "Readers"])
def test_it_learns_and_a_resume_ends_in_the_same_bits(train: Train, store: MemoryStore, use: str) -> None:
    whole = train(use, epochs=12)
    assert whole.history[-1]["train_loss"] < 0.75 * whole.history[0]["train_loss"]
    calls = iter(range(1000))
    with pytest.raises(PreemptedError):
        train(use, "cut", epochs=12, surroundings={"stop_requested": lambda: next(calls) >= 6})
    resumed = train(use, "cut", 2, epochs=12)
    assert resumed.resumed_from_step == 7
    assert resumed.weights_sha256 == whole.weights_sha256


@pytest.mark.parametrize("use", ["TwoTowers", "Readers"])
def test_mode_fast_and_accumulation_train(train: Train, use: str) -> None:
    fast = train(use, "fast", mode="fast", epochs=12)
    assert fast.history[-1]["train_loss"] < 0.75 * fast.history[0]["train_loss"]
    cut = train(use, "cut", accumulation=2)
    assert cut.steps == fast.steps // 4


BY_TWO: list[tuple[str, dict[str, Any]]] = [
    ("TwoTowers", {}),
    ("Texts", {"loader_workers": 1}),
    ("Texts", {"mode": "fast"}),
]


@pytest.fixture(scope="module")
def weights_of_two(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Of each of `BY_TWO`; one pair of processes trains all."""
    store = MemoryStore("store")
    cases = [(use, dataset_of(store, use), changes) for use, changes in BY_TWO]
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(REPOSITORY)  # a spawned process imports its module by its name
        return trained_by_two(tmp_path_factory.mktemp("two"), store, cases)


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize("number", range(len(BY_TWO)), ids=[f"{use}-{changes}" for use, changes in BY_TWO])
def test_two_ranks(train: Train, weights_of_two: list[str], number: int) -> None:
    """Mode exact has the bits of one process, also with loader workers; mode fast trains."""
    use, changes = BY_TWO[number]
    assert weights_of_two[number]
    if "mode" not in changes:
        assert weights_of_two[number] == train(use).weights_sha256


def test_rows_of_about_one_length_meet_in_a_batch() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 1000)

    def order(seed: int) -> SampleOrder:
        return SampleOrder(1000, 16, smallest=1, seed=seed, lengths=lengths)

    one, again, other = order(0), order(0), order(1)
    epoch = [one.step(step) for step in range(one.per_epoch)]
    assert sorted(np.concatenate(epoch).tolist()) == list(range(1000))
    assert all(np.array_equal(again.step(step), batch) for step, batch in reversed(list(enumerate(epoch))))
    assert not np.array_equal(other.step(0), epoch[0])
    assert not np.array_equal(one.step(one.per_epoch), epoch[0])  # another epoch, another order
    plain = SampleOrder(1000, 16, smallest=1, seed=0)

    def padding(batches: list[Any]) -> int:
        return sum(int(lengths[batch].max() * len(batch) - lengths[batch].sum()) for batch in batches)

    assert padding(epoch) < 0.2 * padding([plain.step(step) for step in range(plain.per_epoch)])


def tried(use: str, **train: Any) -> Rehearsal:
    return rehearse(
        MemoryStore("rehearsal"), WorkloadRef(use=f"{HERE}:{use}"), TrainConfig.model_validate(train), world=1
    )


@pytest.mark.parametrize("use", ["TwoTowers", "Texts", "Readers"])
def test_a_rehearsal_finds_nothing_wrong(use: str) -> None:
    assert tried(use) == Rehearsal()


@pytest.mark.parametrize(
    ("use", "words"),
    [
        ("PaddingCounts", "changes with how far its batch is padded: let forward take words_lengths"),
        ("OtherNames", "forward takes 'words'; the workload's tensors() are given by name: user, item"),
        ("NoIdentifier", "'the user' cannot be a parameter of forward"),
    ],
)
def test_a_mistake_with_names_or_lengths_is_told(use: str, words: str) -> None:
    assert words in tried(use).problem


def test_augment_gets_arrays_by_name_and_a_resume_draws_the_same(train: Train) -> None:
    whole = train("Forgetful")
    assert whole.weights_sha256 != train("Readers", "plain").weights_sha256
    calls = iter(range(1000))
    with pytest.raises(PreemptedError):
        train("Forgetful", "cut", surroundings={"stop_requested": lambda: next(calls) >= 6})
    assert train("Forgetful", "cut", 2).weights_sha256 == whole.weights_sha256


def test_the_head_of_a_model_with_several_tensors_is_found_by_asking_it() -> None:
    workload = load_workload(f"{HERE}:Readers", {})
    torch.manual_seed(0)
    module, specs = workload.build_model().eval(), workload.tensors()
    examples = [{s.name: np.asarray(row[s.name]) for s in specs} for row in lines(specs, 6)]
    rows = batch_of(Inputs.stack(examples, specs))
    assert head_tensors(module, rows, 2, asked_by_name(module, specs)) == {"head.weight", "head.bias"}


def test_queries_stay_whole_when_rows_of_several_tensors_are_cut() -> None:
    target = torch.tensor([[1.0, 0], [0, 0], [1, 1], [0, 2], [1, 2]])
    x = {"user": torch.arange(5), "words": torch.arange(10).reshape(5, 2)}
    pieces = split_queries(x, target, 2)
    assert [part["user"].tolist() for part, _ in pieces if isinstance(part, dict)] == [[0, 1, 2], [3, 4]]
    assert [part["words"].shape[0] for part, _ in pieces if isinstance(part, dict)] == [3, 2]
    assert [len(y) for _, y in pieces] == [3, 2]
