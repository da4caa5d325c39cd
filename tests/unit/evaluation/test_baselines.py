"""Baselines: linear models over every kind of tensor, trained and asked as a gate will judge them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from mlratchet.infra.child.call import ForkedChildren
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.data.shards import load_split, write_split
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.evaluation import baselines
from mlratchet.models.evaluation.baselines import Baseline, best_fit, sample_of, train_baseline
from mlratchet.models.evaluation.plain_features import PlainFeatures, dense_width, entities_of
from mlratchet.models.objectives.naming import BUILT_IN
from mlratchet.models.ports.children import install
from mlratchet.models.sources.record import Split
from mlratchet.models.tensors.named import Inputs, Ragged

Array = np.ndarray[Any, Any]
Make = Callable[[np.random.Generator, int], tuple[Inputs, Array]]
SIDES = {"train": 900, "validation": 150, "test": 300}


def ragged(rows: list[Array]) -> Ragged:
    ends = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    return Ragged(np.concatenate(rows), ends)


def dataset(store: MemoryStore, make: Make, *, rows_per_shard: int = 200) -> DatasetManifest:
    """Of rows of chance, in several shards."""
    rng = np.random.default_rng(0)
    splits = {}
    for side, count in SIDES.items():
        x, y = make(rng, count)
        rows = Split(
            ids=[f"{side}-{at:04d}" for at in range(count)], x=x, y=y, columns={"half": ["a", "b"] * (count // 2)}
        )
        splits[side] = write_split(store, rows, rows_per_shard=rows_per_shard)
    return DatasetManifest(
        id="d" * 64, snapshot_id="s", splits=splits, rows=SIDES, target_counts={}, index_sha256="i" * 64
    )


def trained(
    store: MemoryStore, make: Make, task: str, outputs: int = 1, model: Any = "linear", told: Sequence[str] = ()
) -> tuple[Baseline, Split]:
    manifest = dataset(store, make)
    rows = load_split(store, manifest, "test")
    learns = BUILT_IN[task].linear_model
    return train_baseline(store, manifest, rows, model=model, learns=learns, outputs=outputs, told=told), rows


def numbers(rng: np.random.Generator, count: int) -> tuple[Inputs, Array]:
    x = rng.normal(size=(count, 4)).astype(np.float32) * [1, 100, 0.01, 0]
    return Inputs({"numbers": x.astype(np.float32)}), (x[:, 0] + x[:, 1] / 100 > 0).astype(np.int64)


def categories(rng: np.random.Generator, count: int) -> tuple[Inputs, Array]:
    codes = rng.integers(0, 6, size=(count, 2))
    return Inputs({"categories": codes}), ((codes[:, 0] % 2) + (codes[:, 1] > 4)).astype(np.int64)


def words(rng: np.random.Generator, count: int) -> tuple[Inputs, Array]:
    y = rng.integers(0, 3, count)
    rows = [np.append(rng.integers(10, 60, rng.integers(1, 9)), 3 + label) for label in y]
    return Inputs({"text": ragged(rows)}), y


def sounds(rng: np.random.Generator, count: int) -> tuple[Inputs, Array]:
    y = rng.integers(0, 2, count)
    rows = [rng.normal(label, 2.0, size=(rng.integers(10, 40), 5)).astype(np.float32) for label in y]
    return Inputs({"sound": ragged(rows)}), y


@pytest.mark.parametrize("make", [numbers, categories, words, sounds])
def test_a_linear_model_learns_from_every_kind_of_tensor(store: MemoryStore, make: Make) -> None:
    found, rows = trained(store, make, "classification", 3)
    right = (found.outputs.output.argmax(axis=1) == rows.y).mean()
    assert right > 0.95
    assert found.outputs.output.shape == (300, 3)
    assert (found.outputs.ids, found.outputs.dataset_id, found.outputs.columns) == (rows.ids, "d" * 64, rows.columns)
    assert found.words == "trained on 900 rows"


def test_labels_of_chance_teach_nothing(store: MemoryStore) -> None:
    def shuffled(rng: np.random.Generator, count: int) -> tuple[Inputs, Array]:
        x, y = numbers(rng, count)
        return x, rng.permutation(y)

    found, rows = trained(store, shuffled, "classification", 2)
    assert 0.4 < (found.outputs.output.argmax(axis=1) == rows.y).mean() < 0.6


def test_several_tensors_count_together_and_a_number_is_learnt(store: MemoryStore) -> None:
    def make(rng: np.random.Generator, count: int) -> tuple[Inputs, Array]:
        inputs = Inputs({"a": rng.normal(size=(count, 1, 2, 2)).astype(np.float32), "who": rng.integers(0, 9, count)})
        a, who = inputs.columns["a"], inputs.columns["who"]
        assert isinstance(a, np.ndarray)
        assert isinstance(who, np.ndarray)
        return inputs, (100 + 3 * a[:, 0, 1, 1] + who).astype(np.float32)

    found, rows = trained(store, make, "regression")
    assert found.outputs.output.shape == (300,)
    assert np.abs(found.outputs.output - rows.y).mean() < 0.1
    bias, _ = trained(store, make, "regression", model="bias")
    assert 2 < np.abs(bias.outputs.output - rows.y).mean() < 3  # who, and nothing else


def test_a_bias_is_also_of_who_the_model_is_not_told(store: MemoryStore) -> None:
    """Its row carries the name: a bar that leaves it out would be too low."""

    def make(rng: np.random.Generator, count: int) -> tuple[Inputs, Array]:
        film = rng.integers(0, 9, count)
        return Inputs({"film": film}), (film + np.tile([0, 40], count // 2)).astype(np.float32)

    alone, rows = trained(store, make, "regression", model="bias")
    assert np.abs(alone.outputs.output - rows.y).mean() > 15
    beside, _ = trained(store, make, "regression", model="bias", told=("half",))
    assert np.abs(beside.outputs.output - rows.y).mean() < 0.1
    alike, _ = trained(store, make, "regression", told=("half",))  # a linear model takes what the candidate takes
    assert np.abs(alike.outputs.output - rows.y).mean() > 15


def test_labels_are_learnt_each_by_itself_also_one_that_no_row_has(store: MemoryStore) -> None:
    def make(rng: np.random.Generator, count: int) -> tuple[Inputs, Array]:
        x = rng.normal(size=(count, 2)).astype(np.float32)
        return Inputs({"x": x}), np.stack([x[:, 0] > 0, x[:, 1] > 0, x[:, 0] > 99], axis=1).astype(np.float32)

    found, rows = trained(store, make, "multi_label", 3)
    assert ((found.outputs.output > 0) == rows.y).mean() > 0.97


def test_a_class_that_training_does_not_hold_is_never_the_answer(store: MemoryStore) -> None:
    found, _ = trained(store, numbers, "classification", 4)
    assert np.isfinite(found.outputs.output).all()
    assert set(found.outputs.output.argmax(axis=1)) == {0, 1}


def test_more_rows_than_it_takes_are_drawn_and_counted(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "MOST_ROWS", 300)
    found, rows = trained(store, numbers, "classification", 2)
    assert (found.trained_on, found.of) == (300, 900)
    assert found.words == "trained on 300 of 900 rows"
    assert (found.outputs.output.argmax(axis=1) == rows.y).mean() > 0.95
    monkeypatch.setattr(baselines, "MOST_NUMBERS", 4 * 50)
    assert len(sample_of(store, dataset(store, numbers).splits["train"], most=300)[0]) == 50  # wide rows: fewer


def test_what_cannot_be_trained_says_why(store: MemoryStore) -> None:
    with pytest.raises(ConfigurationError, match="no linear model for this objective"):
        best_fit("", (None, np.zeros(1)), (None, np.zeros(1)), 1)
    with pytest.raises(ConfigurationError, match="needs entities"):
        trained(store, numbers, "regression", model="bias")


def test_codes_that_training_did_not_see_have_no_column() -> None:
    features = PlainFeatures.fitted(
        Inputs({"who": np.array([1, 2, 2]), "text": ragged([np.array([3, 3, 4]), np.array([4]), np.array([5])])})
    )
    matrix = features.matrix(Inputs({"who": np.array([7, 1]), "text": ragged([np.array([9]), np.array([3, 3, 9])])}))
    assert matrix.shape == (2, 3 + 6)
    assert matrix[0].nnz == 0
    assert matrix[1].toarray()[0].tolist() == [0, 1, 0, 0, 0, 0, 1, 0, 0]  # one word: a row of length 1


def test_what_rows_cost_and_who_they_are_about_is_told_by_their_specs() -> None:
    x = Inputs(
        {
            "user": np.arange(3),
            "numbers": np.zeros((3, 7), np.float32),
            "sound": ragged([np.zeros((2, 5), np.float32)] * 3),
        }
    )
    assert dense_width(x.specs) == 17
    assert entities_of(x.specs) == ("user",)


def test_a_child_trains_it_with_the_rights_that_it_is_lent(store: MemoryStore) -> None:
    here, _ = trained(store, numbers, "classification", 2)
    install(ForkedChildren(None))
    try:
        away, rows = trained(store, numbers, "classification", 2)
    finally:
        install(None)
    assert away.outputs.output.tobytes() == here.outputs.output.tobytes()
    assert away.outputs.ids == rows.ids
