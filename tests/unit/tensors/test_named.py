"""Rows of named tensors: cut, put together, padded, stored; nothing gets lost and nothing gets mixed up."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mlratchet.models.tensors.batch import TensorRows, batch_of, cut_batch, forward_names
from mlratchet.models.tensors.named import Inputs, Ragged, example_misfit, misfit
from mlratchet.models.tensors.spec import TensorSpec, check_specs
from safetensors.numpy import load, save

USER = TensorSpec(name="user", shape=(), dtype="int64")
WORDS = TensorSpec(name="words", shape=(), dtype="int64", ragged=True)
FRAMES = TensorSpec(name="frames", shape=(2,), dtype="float32", ragged=True)
SPECS = (USER, WORDS, FRAMES)
ROWS = st.lists(st.tuples(st.integers(0, 9), st.lists(st.integers(1, 9), max_size=5), st.integers(0, 4)), min_size=1)


def inputs(rows: list[tuple[int, list[int], int]]) -> Inputs:
    examples = [
        {"user": np.asarray(user), "words": np.asarray(words), "frames": np.full((frames, 2), user + 1.0)}
        for user, words, frames in rows
    ]
    return Inputs.stack(examples, SPECS)


def told(found: Inputs) -> list[tuple[int, list[int], int]]:
    return [
        (int(one["user"]), one["words"].tolist(), len(one["frames"]))
        for one in found.examples()
        if isinstance(one, dict)
    ]


@given(ROWS, st.data())
def test_rows_are_the_same_however_they_are_cut_taken_stored_and_put_together(
    rows: list[tuple[int, list[int], int]], data: st.DataObject
) -> None:
    whole = inputs(rows)
    assert told(whole) == rows
    assert misfit(whole, SPECS) == ""
    cut = data.draw(st.integers(1, len(rows)))
    parts = [whole.rows(slice(at, at + cut)) for at in range(0, len(rows), cut)]
    assert told(Inputs.concat(parts)) == rows
    places = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=6))
    assert told(whole.take(np.asarray(places, dtype=np.int64))) == [rows[at] for at in places]
    chosen = np.asarray([user % 2 == 0 for user, _, _ in rows])
    assert told(whole.take(chosen)) == [row for row, keep in zip(rows, chosen, strict=True) if keep]
    stored = load(save({name: np.ascontiguousarray(one) for name, one in parts[-1].arrays().items()}))
    assert told(Inputs.from_arrays(stored)) == told(parts[-1])


@given(ROWS)
def test_a_batch_is_padded_with_zeros_and_says_how_long_each_row_is(rows: list[tuple[int, list[int], int]]) -> None:
    whole = inputs(rows)
    batch = whole.batch()
    longest = max(1, *(len(words) for _, words, _ in rows))
    assert batch["words"].shape == (len(rows), longest)
    for row, (_, words, _) in enumerate(rows):
        assert batch["words_lengths"][row] == len(words)
        assert batch["words"][row].tolist() == words + [0] * (longest - len(words))
    everything = TensorRows(whole).take(torch.arange(len(rows)))
    expected = batch_of(whole)
    assert isinstance(everything, dict)
    assert isinstance(expected, dict)
    assert set(everything) == set(expected) == {"user", "words", "words_lengths", "frames", "frames_lengths"}
    assert all(torch.equal(everything[name], expected[name]) for name in expected)
    pieces = cut_batch(everything, min(2, len(rows)))
    assert sum(len(piece["user"]) for piece in pieces if isinstance(piece, dict)) == len(rows)


def test_one_dense_input_stays_an_array() -> None:
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    one = Inputs({"x": x})
    assert one.array is x
    assert one.arrays() == {"x": x}
    assert torch.equal(torch.from_numpy(x), batch_of(one))  # type: ignore[arg-type]  # one input is one tensor
    assert [row.tolist() for row in one.examples()] == x.tolist()  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="ask for each by its name"):
        _ = inputs([(1, [2], 0)]).array


def test_offsets_that_cut_no_rows_are_refused() -> None:
    for offsets in ([0, 3, 2, 4], [1, 4], [0, 3], [0, 5], []):
        with pytest.raises(ValueError, match="ragged: offsets do not cut 4 values"):
            Ragged(np.zeros(4), np.asarray(offsets, dtype=np.int64))
    with pytest.raises(ValueError, match="as many rows each"):
        Inputs({"a": np.zeros(2), "b": np.zeros(3)})


@pytest.mark.parametrize(
    ("x", "words"),
    [
        ({"user": 1, "words": [1, 2]}, "got no input 'frames'"),
        ({"user": 1, "words": [1], "frames": np.zeros((1, 2)), "age": 3}, "got input 'age', which tensors() does not"),
        (
            {"user": [1], "words": [1], "frames": np.zeros((1, 2))},
            "got input user of shape [1], expected user (int64 []",
        ),
        ({"user": 1, "words": 1, "frames": np.zeros((1, 2))}, "got input words of shape [], expected words (ragged"),
        ({"user": 1.5, "words": [1], "frames": np.zeros((1, 2))}, "got input user of float64"),
        ({"user": 1, "words": [1], "frames": [[1, 2], [3]]}, "input frames:"),
        (np.zeros(3), "got an input of type ndarray, expected user"),
    ],
)
def test_an_input_that_is_none_is_told_by_its_name(x: object, words: str) -> None:
    assert words in example_misfit(x, SPECS)


def test_names_that_forward_could_not_take_are_refused() -> None:
    for specs, words in (
        ((), "at least one tensor"),
        ((TensorSpec(name="class", shape=(), dtype="int64"),), "cannot be a parameter of forward"),
        ((USER, USER), "'user' is there twice"),
        ((WORDS, TensorSpec(name="words_lengths", shape=(), dtype="int64")), "'words_lengths' is there twice"),
        ((TensorSpec(name="a", shape=(0,), dtype="int64"),), "sizes of at least 1"),
        ((TensorSpec(name="a", shape=(), dtype="float16"),), "expected float32, int64 or uint8"),
    ):
        with pytest.raises(ValueError, match=words.replace("(", r"\(").replace(")", r"\)")):
            check_specs(specs)


def test_forward_is_given_what_it_names() -> None:
    assert forward_names(lambda words, user, frames: 0, SPECS) == ("words", "user", "frames")
    assert forward_names(lambda words_lengths, words, user, frames, scale=2: 0, SPECS)[0] == "words_lengths"
    assert len(forward_names(lambda **named: 0, SPECS)) == 5
    with pytest.raises(TypeError, match="forward takes 'age'"):
        forward_names(lambda user, words, frames, age: 0, SPECS)
    with pytest.raises(TypeError, match="forward does not take 'frames'"):
        forward_names(lambda user, words: 0, SPECS)
