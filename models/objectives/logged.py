"""What the inference log holds of a task: answers as words or numbers, and labels that come later as targets.

Shape legend: T rows, C classes or labels.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from mlratchet.models.metrics.probability import log_probabilities
from mlratchet.models.metrics.rows import RowOutputs

Array = np.ndarray[Any, Any]
MOST_JOINED = 4  # labels of one answer that make its word


class LoggedNumbers:
    """Of one number per row, or of several: what is not overridden."""

    says_words: bool = False
    """An answer is one of few words, which can be counted and held against those of another version."""
    has_confidence: bool = False
    """`confidences` and `right` can be asked."""

    def predicted(self, output: Array, names: Sequence[str]) -> list[str] | Array:  # noqa: ARG002
        """What was answered by (T,) or (T, C) outputs: T words, or (T,) numbers."""
        return output if output.ndim == 1 else output.reshape(len(output), -1).mean(axis=1)

    def confidences(self, output: Array) -> Array | None:  # noqa: ARG002
        """(T,) the largest probability of each answer; None for a task that has none."""
        return None

    def right(self, rows: RowOutputs) -> Array:
        """(T,) 1.0 where the answer is the target. Where answers have a confidence."""
        raise NotImplementedError

    def target(self, label: str, names: Sequence[str]) -> Any:  # noqa: ARG002
        """The target that a label says; None for one that says nothing to this version."""
        said = read_json(label)
        if isinstance(said, bool) or said is None:
            return None
        if isinstance(said, list):
            return [float(one) for one in said] if all(isinstance(one, int | float) for one in said) else None
        return float(said) if isinstance(said, int | float) and np.isfinite(said) else None

    def targets(self, found: Sequence[Any], names: Sequence[str]) -> Array:  # noqa: ARG002
        """What `target` gave, of T rows, as a metric takes it."""
        return np.asarray(found, dtype=np.float64)

    def answered(self, output: Array) -> Array:
        """The answers as targets, for attributions: they are about the answer, since nobody knows the truth yet."""
        return np.asarray(output, dtype=np.float32)


class LoggedClasses(LoggedNumbers):
    """Of (T, C) logits of one class per row."""

    says_words = True
    has_confidence = True

    def predicted(self, output: Array, names: Sequence[str]) -> list[str] | Array:
        """Names of classes."""
        called = np.asarray(names, dtype=object)
        return [str(name) for name in called[output.argmax(axis=1)]] if len(output) else []

    def confidences(self, output: Array) -> Array | None:
        """See the base."""
        if output.ndim != 2:
            return None
        return np.exp(log_probabilities(output).max(axis=1)) if len(output) else np.zeros(0)

    def right(self, rows: RowOutputs) -> Array:
        """See the base."""
        return np.asarray((rows.output.argmax(axis=1) == rows.y).astype(np.float64))

    def target(self, label: str, names: Sequence[str]) -> Any:
        """The index of a class; None for one that the version does not know."""
        return names.index(label) if label in names else None

    def targets(self, found: Sequence[Any], names: Sequence[str]) -> Array:  # noqa: ARG002
        """(T,) int64."""
        return np.asarray(found, dtype=np.int64)

    def answered(self, output: Array) -> Array:
        """(T,) int64."""
        return np.asarray(output.argmax(axis=1), dtype=np.int64)


class LoggedLabels(LoggedNumbers):
    """Of (T, C) logits of any number of labels per row."""

    says_words = True

    def predicted(self, output: Array, names: Sequence[str]) -> list[str] | Array:
        """The first labels that are on, joined."""
        called = np.asarray(names, dtype=object)
        return [" + ".join(called[row > 0][:MOST_JOINED]) or "none" for row in output]

    def target(self, label: str, names: Sequence[str]) -> Any:
        """0 or 1 per label, of a list of labels in JSON or one label; None where the version does not know one."""
        said = read_json(label)
        chosen = said if isinstance(said, list) else ([] if label == "" else [label])
        known = all(isinstance(one, str) and one in names for one in chosen)
        return [float(name in chosen) for name in names] if known else None

    def targets(self, found: Sequence[Any], names: Sequence[str]) -> Array:
        """(T, C) of 0 and 1."""
        return np.asarray(found, dtype=np.float64).reshape(len(found), len(names))

    def answered(self, output: Array) -> Array:
        """(T, C) of 0 and 1."""
        return np.asarray(output > 0, dtype=np.float32)


def read_json(label: str) -> Any:
    """None for what is no JSON."""
    try:
        return json.loads(label)
    except ValueError:
        return None
