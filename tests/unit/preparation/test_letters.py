"""Sequences, held against counting by hand."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlratchet.models.errors import ConfigurationError, DataError
from mlratchet.models.preparation.base import State
from mlratchet.models.preparation.letters import LetterOptions, LetterPreparation
from mlratchet.models.schema.fields import Field
from mlratchet.models.tensors.named import Ragged

PAIRS = dict(zip("ACGTN", "TGCAN", strict=True))


def table(texts: list[Any]) -> pa.Table:
    return pa.table({"dna": pa.array(texts, pa.string())})


def fitted(options: dict[str, Any], seen: list[Any] | None = None, **field: Any) -> tuple[LetterPreparation, State]:
    one = LetterPreparation({"dna": Field(kind="letters", **field)}, LetterOptions(**options))
    return one, one.fit(lambda: iter([table(seen or ["ACGT"])]))


def rows(one: LetterPreparation, state: State, texts: list[Any]) -> list[Any]:
    column = one.apply(table(texts), state).columns["dna"]
    return [column[row].tolist() for row in range(len(texts))]


def by_hand(text: str, k: int, *, canonical: bool) -> list[int]:
    runs = ["".join(run) for run in product("ACGTN", repeat=k)]
    found = []
    for at in range(len(text) - k + 1):
        run = text[at : at + k]
        if run not in runs:
            found.append(1)
            continue
        other = "".join(PAIRS[letter] for letter in reversed(run))
        found.append(2 + (min(runs.index(run), runs.index(other)) if canonical else runs.index(run)))
    return found or [1]


@given(st.lists(st.text("ACGTNX", max_size=9), min_size=1, max_size=5), st.integers(1, 4), st.booleans())
def test_runs_are_those_counted_by_hand(texts: list[str], k: int, canonical: bool) -> None:
    options = {"encoding": "kmers", "k": k, "reverse_complement": canonical}
    one, state = fitted(options, alphabet="dna")
    assert rows(one, state, texts) == [by_hand(text, k, canonical=canonical) for text in texts]


@given(st.text("ACGTN", min_size=4, max_size=9))
def test_a_sequence_and_its_reverse_complement_have_the_same_runs(text: str) -> None:
    one, state = fitted({"encoding": "kmers", "reverse_complement": True}, alphabet="dna")
    forward, back = rows(one, state, [text, "".join(PAIRS[letter] for letter in reversed(text))])
    assert forward == back[::-1]


def test_a_letter_is_a_column_and_an_unknown_one_is_none() -> None:
    one, state = fitted({}, alphabet="ACGT")
    assert rows(one, state, ["AXt", ""]) == [[[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]], [[0, 0, 0, 0]]]


def test_both_strands_are_read_from_their_own_beginning() -> None:
    one, state = fitted({"reverse_complement": True}, alphabet="ACGT")
    forward, back = rows(one, state, ["AAC", "GTT"])
    eye = np.eye(4).tolist()
    assert forward == [eye["ACGT".index(a)] + eye["ACGT".index(b)] for a, b in zip("AAC", "GTT", strict=True)]
    assert back == [pair[4:] + pair[:4] for pair in forward]


def test_u_pairs_with_a_in_rna() -> None:
    one, state = fitted({"reverse_complement": True, "encoding": "kmers"}, alphabet="rna")
    forward, back = rows(one, state, ["AAC", "GUU"])
    assert forward == back


def test_an_alphabet_that_is_not_declared_is_that_of_the_training_rows() -> None:
    one, state = fitted({}, ["bca", "é"])
    assert state.document["letters"] == "ABCÉ"
    assert rows(one, state, ["é"]) == [[[0, 0, 0, 1]]]
    assert fitted({"upper": False}, ["bA"])[1].document["letters"] == "Ab"


def test_rows_of_one_length_are_filled_up_or_cut() -> None:
    one, state = fitted({"length": 3, "encoding": "kmers", "k": 1}, alphabet="ACGT")
    found = one.apply(table(["A", "ACGTA"]), state).columns["dna"]
    assert not isinstance(found, Ragged)
    assert found.tolist() == [[2, 0, 0], [2, 3, 4]]
    assert one.tensors(state)[0].shape == (3,)


def test_a_long_sequence_is_cut_at_its_end() -> None:
    one, state = fitted({"encoding": "kmers", "k": 1, "max_length": 2}, alphabet="ACGT")
    assert rows(one, state, ["CGTA"]) == [[3, 4]]


def test_letters_without_a_complement_are_refused_before_anything_is_prepared() -> None:
    with pytest.raises(ConfigurationError, match=r"letter 'E' of .* has no complement"):
        fitted({"reverse_complement": True}, alphabet="protein")


def test_more_runs_than_a_model_can_tell_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="lower k"):
        fitted({"encoding": "kmers", "k": 9}, alphabet="protein")


def test_no_letters_to_fit_on_are_refused() -> None:
    with pytest.raises(DataError, match="0 different letters"):
        fitted({}, [None], nullable=True)
