"""Texts: byte-level BPE held against the tokenizer that it comes from, and words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from mlratchet.models.errors import DataError
from mlratchet.models.preparation.base import State
from mlratchet.models.preparation.samples import FewestDigests, TextSample
from mlratchet.models.preparation.text import FIRST, TextOptions, TextPreparation
from mlratchet.models.schema.fields import Field
from mlratchet.models.tensors.named import Ragged

TEXTS = ["The cat sat on the mat.", "the cats, the hats: naïve 日本 🙂", "it's the cat's", "A cat! A hat? the end"] * 3


def table(texts: list[Any]) -> pa.Table:
    return pa.table({"note": pa.array(texts, pa.string())})


def fitted(options: dict[str, Any], texts: list[Any] = TEXTS, **field: Any) -> tuple[TextPreparation, State]:
    one = TextPreparation({"note": Field(kind="text", **field)}, TextOptions(**options))
    return one, one.fit(lambda: iter([table(texts)]))


def tokens(one: TextPreparation, state: State, texts: list[Any]) -> list[list[str]]:
    """As words, of which the first three are marks of ours."""
    column = one.apply(table(texts), state).columns["note"]
    assert isinstance(column, Ragged)
    names = ["[pad]", "[unknown]", "[empty]", *state.document["tokens"]]
    return [[names[code] for code in column[row]] for row in range(len(texts))]


def test_pieces_are_those_of_the_tokenizer_that_was_trained() -> None:
    from tokenizers import ByteLevelBPETokenizer

    theirs = ByteLevelBPETokenizer(unicode_normalizer="nfc")
    theirs.train_from_iterator(sorted(TEXTS), vocab_size=400, min_frequency=2, show_progress=False)
    one, state = fitted({"vocabulary": 400})
    asked = [*TEXTS, "a cat never seen \x00 \u0301e  two  spaces\n"]
    assert tokens(one, state, asked) == [theirs.encode(text).tokens for text in asked]


def test_pieces_become_what_training_made_frequent() -> None:
    one, state = fitted({"vocabulary": 400})
    assert tokens(one, state, ["the cat"]) == [["the", "Ġcat"]]


def test_no_text_is_unknown_to_bytes() -> None:
    one, state = fitted({"vocabulary": 300}, ["plain words", "plain words"])
    (found,) = tokens(one, state, ["ж🙂"])
    assert "[unknown]" not in found
    assert len(found) == len("ж🙂".encode())


def test_words_are_those_of_unicode_and_single_signs() -> None:
    one, state = fitted({"tokens": "words"})
    assert tokens(one, state, ["the cat's naïve,日本 dog"]) == [["the", "cat's", "naïve", ",", "日本", "[unknown]"]]


def test_capitals_can_be_small() -> None:
    one, state = fitted({"tokens": "words", "lowercase": True})
    assert tokens(one, state, ["THE Cat"]) == [["the", "cat"]]
    assert tokens(*fitted({"tokens": "words"}), ["THE"]) == [["[unknown]"]]


def test_composed_and_decomposed_letters_are_the_same() -> None:
    for options in ({"tokens": "words"}, {"vocabulary": 400}):
        one, state = fitted(options)
        assert tokens(one, state, ["nai\u0308ve"]) == tokens(one, state, ["naïve"])


@pytest.mark.parametrize("options", [{"tokens": "words"}, {"vocabulary": 400}])
def test_a_text_without_a_token_is_one_mark(options: dict[str, Any]) -> None:
    one, state = fitted(options, nullable=True)
    assert tokens(one, state, ["", None]) == [["[empty]"], ["[empty]"]]


@pytest.mark.parametrize("options", [{"tokens": "words"}, {"vocabulary": 400}])
def test_a_long_text_is_cut_at_its_end(options: dict[str, Any]) -> None:
    one, state = fitted({**options, "max_length": 3})
    whole = tokens(*fitted(options), ["the cat sat on the mat"])
    assert tokens(one, state, ["the cat sat on the mat"]) == [whole[0][:3]]


def test_a_text_is_read_as_far_as_declared() -> None:
    one, state = fitted({"tokens": "words", "max_characters": 7})
    assert tokens(one, state, ["the cat sat"]) == [["the", "cat"]]


def test_the_vocabulary_has_at_most_as_many_tokens_as_declared() -> None:
    _, words = fitted({"tokens": "words", "vocabulary": 256}, [f"w{at} w{at}" for at in range(400)])
    _, pieces = fitted({"vocabulary": 260})
    assert len(words.document["tokens"]) == 256
    assert len(pieces.document["tokens"]) == 260


def test_the_size_counts_the_marks() -> None:
    one, state = fitted({"vocabulary": 270})
    assert [feature.size for feature in one.features(state)] == [270 + FIRST]


def test_a_text_that_lacks_where_none_may_is_refused() -> None:
    one, state = fitted({"tokens": "words"})
    with pytest.raises(DataError, match="example 1: field 'note' is not given"):
        one.apply(table(["a", None]), state)


def test_a_sample_hangs_on_no_order_and_keeps_to_its_budget() -> None:
    texts = [f"text number {at}" for at in range(500)]
    rng = np.random.default_rng(0)
    found = []
    for _ in range(3):
        sample = TextSample(2_000)
        for at in rng.permutation(len(texts)):
            sample.add(texts[at])
        found.append(sample.texts())
    assert found[0] == found[1] == found[2]
    assert 500 < sum(map(len, found[0])) <= 2_000


def test_what_fits_the_budget_is_whole() -> None:
    sample = TextSample(1_000)
    for text in ("b", "a", "b"):
        sample.add(text)
    assert sorted(sample.texts()) == ["a", "b", "b"]


def test_the_fewest_digests_are_the_same_in_any_order_and_measured_late() -> None:
    contents = [bytes([at]) for at in range(200)]
    found, measured = [], []
    for order in (contents, contents[::-1], contents + contents):
        sample: FewestDigests[bytes] = FewestDigests(10)
        for content in order:
            sample.offer(content, lambda content=content: measured.append(content) or content)  # type: ignore[misc]
        found.append(sample.kept())
    assert found[0] == found[1] == found[2]
    assert len(set(found[0])) == 10
    assert len(measured) < 300  # not all 800
