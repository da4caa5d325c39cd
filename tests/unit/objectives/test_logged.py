"""What the inference log holds of each task: answers as words or numbers, and labels as targets."""

from __future__ import annotations

import numpy as np
import pytest
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.naming import BUILT_IN, objective_of

NAMES = ("no", "yes")
LOGITS = np.array([[2.0, -1.0], [-3.0, 3.0]])


@pytest.mark.parametrize(
    ("task", "said", "words"),
    [("classification", ["no", "yes"], True), ("multi_label", ["no", "yes"], True), ("regression", [0.5, 0.0], False)],
)
def test_an_answer_is_a_word_or_a_number(task: str, said: list[object], words: bool) -> None:
    logged = objective_of(task).logged
    assert list(logged.predicted(LOGITS, NAMES)) == said
    assert logged.says_words == words


@pytest.mark.parametrize(
    ("task", "label", "target"),
    [
        ("classification", "yes", 1),
        ("classification", "perhaps", None),
        ("multi_label", '["yes"]', [0.0, 1.0]),
        ("multi_label", "no", [1.0, 0.0]),
        ("multi_label", "", [0.0, 0.0]),
        ("multi_label", '["perhaps"]', None),
        ("regression", "1.5", 1.5),
        ("regression", "[1, 2]", [1.0, 2.0]),
        ("regression", "true", None),
        ("regression", "1e999", None),
        ("regression", "three", None),
        ("ranking", "2", 2.0),
    ],
)
def test_a_label_is_a_target_or_says_nothing(task: str, label: str, target: object) -> None:
    assert objective_of(task).logged.target(label, NAMES) == target


def test_only_classes_have_a_confidence_that_can_be_right() -> None:
    with_one = [name for name in BUILT_IN if objective_of(name).logged.has_confidence]
    assert with_one == [name for name in BUILT_IN if objective_of(name).logged.confidences(LOGITS) is not None]
    assert with_one == ["classification"]
    rows = RowOutputs(ids=["a", "b"], y=np.array([0, 0]), output=LOGITS)
    assert objective_of("classification").logged.right(rows).tolist() == [1.0, 0.0]


def test_answers_are_targets_of_their_own_shape() -> None:
    shapes = {name: objective_of(name).logged.answered(LOGITS).shape for name in BUILT_IN}
    assert shapes == {"classification": (2,), "multi_label": (2, 2), "regression": (2, 2), "ranking": (2, 2)}
    no_rows = {name: objective_of(name).logged.targets([], NAMES).shape for name in BUILT_IN}
    assert no_rows == {"classification": (0,), "multi_label": (0, 2), "regression": (0,), "ranking": (0,)}
