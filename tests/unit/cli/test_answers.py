"""What `ratchet predict` prints of an answer: the class, labels or number, and of one's own objective every field."""

from __future__ import annotations

from typing import Any

import pytest
from mlratchet.flows.cli.runs import answer_in_words


@pytest.mark.parametrize(
    ("prediction", "words"),
    [
        ({"class": "yes", "probability": 0.75, "probabilities": {"yes": 0.75, "no": 0.25}}, "yes (0.750)"),
        ({"labels": ["a", "b"], "probabilities": {"a": 1, "b": 1}}, "a, b"),
        ({"labels": [], "probabilities": {"a": 0}}, "no label"),
        ({"value": 2.5}, "2.5"),
        ({"score": -1.0}, "-1.0"),
        ({"rate": 2.5}, "2.5"),
        ({"text": "abba", "probability": 0.5}, "text abba, probability 0.5"),
        ({"shapes": [{"class": "bar", "box": [1, 2]}]}, '[{"class": "bar", "box": [1, 2]}]'),
    ],
)
def test_an_answer_is_told_in_its_own_words(prediction: dict[str, Any], words: str) -> None:
    assert answer_in_words(prediction) == words
