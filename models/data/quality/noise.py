"""Labels that look wrong, by confident learning (Northcutt et al., 2021) over outputs for rows that were not learnt.

The outputs are the champion's on its test rows, where enough of them are delivered again, else those of a linear model
in five folds: never of a model on rows that it was fitted to.

Shape legend: N rows, C classes, F features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mlratchet.models.data.quality.measure import Measure
from mlratchet.models.data.quality.sample import FieldValues, Sample

ROWS = 5_000  # that a linear model is fitted to
LEAST_ROWS = 100
FOLDS = 5
LEAST_OUTPUTS = 200  # of the champion: with fewer the linear model looks at more
LISTED = 50  # labels to look at
WORD_FEATURES, TEXT_FEATURES = 2**10, 2**12
Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """A label to look at."""

    id: str
    given: str
    suggested: str
    confidence: float  # of the suggested one


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Of a delivery."""

    share: float  # of the labels, as estimated
    n: int  # rows looked at
    by: str  # whose outputs
    suspects: tuple[Suspect, ...]  # the surest first, at most `LISTED`
    found: int  # how many there are


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """Of a model on rows that it was not fitted to."""

    ids: Sequence[str]
    probabilities: Array  # (N, C) over today's classes
    by: str


def label_noise(sample: Sample, classes: Sequence[str], outputs: Outputs | None, labels: Mapping[str, int]) -> Noise:
    """`labels`: of the rows of `outputs` as they are delivered now."""
    if outputs is not None:
        known = [(row, labels[one]) for row, one in enumerate(outputs.ids) if one in labels]
        if len(known) >= LEAST_OUTPUTS:
            rows = [row for row, _ in known]
            given = np.asarray([label for _, label in known])
            return _judged([outputs.ids[row] for row in rows], given, outputs.probabilities[rows], classes, outputs.by)
    size = min(ROWS, len(sample))
    given = np.asarray(sample.labels[:size], dtype=np.float64).astype(np.int64)
    features = _features(sample, size)
    if size < LEAST_ROWS or features is None or len(np.unique(given)) < 2:
        return Noise(share=0.0, n=0, by="too few rows, or none with fields or small pictures", suspects=(), found=0)
    probabilities = _out_of_fold(features, given, len(classes))
    return _judged(sample.ids[:size], given, probabilities, classes, f"a linear model in {FOLDS} folds")


def confident_joint(probabilities: Array, given: Array) -> tuple[Array, Array]:
    """(C, C) counts of (given, confident) labels, and the confident label (N,) of each row, -1 where there is none.

    A row counts for the class of highest probability among those that reach the mean probability of the rows that are
    labelled so (the paper's thresholds)."""
    classes = probabilities.shape[1]
    present = np.bincount(given, minlength=classes) > 0
    thresholds = np.full(classes, np.inf)
    for one in np.flatnonzero(present):
        thresholds[one] = probabilities[given == one, one].mean()
    reached = np.where(probabilities >= thresholds, probabilities, -1.0)
    confident = np.where(reached.max(axis=1) >= 0, reached.argmax(axis=1), -1)
    joint = np.zeros((classes, classes))
    np.add.at(joint, (given[confident >= 0], confident[confident >= 0]), 1)
    return joint, np.asarray(confident)


def _judged(ids: Sequence[str], given: Array, probabilities: Array, classes: Sequence[str], by: str) -> Noise:
    joint, confident = confident_joint(probabilities, given)
    counts = np.bincount(given, minlength=len(classes)).astype(np.float64)
    rows = np.maximum(joint.sum(axis=1, keepdims=True), 1)
    calibrated = joint / rows * counts[:, None]  # as many of each given class as there are
    total = float(calibrated.sum())
    share = 1 - float(np.trace(calibrated)) / total if total else 0.0
    off = np.flatnonzero((confident >= 0) & (confident != given))
    margin = probabilities[off, confident[off]] - probabilities[off, given[off]]
    order = off[np.lexsort((off, -margin))]
    return Noise(
        share=max(0.0, share),
        n=len(given),
        by=by,
        found=len(off),
        suspects=tuple(
            Suspect(
                id=ids[row],
                given=classes[int(given[row])],
                suggested=classes[int(confident[row])],
                confidence=float(probabilities[row, confident[row]]),
            )
            for row in order[:LISTED]
        ),
    )


def _out_of_fold(features: Any, given: Array, classes: int) -> Array:
    """(N, C): every row by a model that was fitted to the other folds."""
    from sklearn.linear_model import LogisticRegression

    found = np.zeros((len(given), classes))
    folds = np.arange(len(given)) % FOLDS  # the sample is in the order of hashes
    for fold in range(FOLDS):
        learnt = folds != fold
        present = np.unique(given[learnt])
        if len(present) < 2:
            found[np.ix_(~learnt, present)] = 1.0
            continue
        model = LogisticRegression(max_iter=60, tol=1e-3).fit(features[learnt], given[learnt])
        found[np.ix_(~learnt, model.classes_)] = model.predict_proba(features[~learnt])
    return found


def _features(sample: Sample, size: int) -> Any:
    """(N, F), sparse where there are words; None where there is nothing to learn from."""
    from scipy.sparse import csr_array, hstack

    # sparse, all of it: the products of dense ones take every core, and on a shared machine ten times as long
    blocks = [csr_array(_standard(sample.pictures[:size]))] if sample.pictures is not None else []
    blocks += [_block(one, size) for one in sample.fields if one.input]
    return csr_array(hstack(blocks)) if blocks else None


def _block(one: FieldValues, size: int) -> Any:
    from scipy.sparse import csr_array
    from sklearn.feature_extraction.text import HashingVectorizer

    if one.kind in ("number", "time"):
        values = one.values[:size]
        given = ~np.isnan(values)
        filled = np.where(given, values, np.median(values[given]) if given.any() else 0.0)
        return csr_array(np.column_stack([_standard(filled[:, None]), (~given).astype(np.float64)]))
    texts = ["" if value is None else str(value) for value in one.values[:size]]
    if one.kind == "word":
        whole = HashingVectorizer(n_features=WORD_FEATURES, analyzer=lambda text: [text], norm=None)
        return csr_array(whole.transform(texts))
    if one.kind == "letters":
        grams = HashingVectorizer(n_features=TEXT_FEATURES, analyzer="char", ngram_range=(1, 3), lowercase=False)
        return csr_array(grams.transform(texts)) * 5.0
    return csr_array(HashingVectorizer(n_features=TEXT_FEATURES, ngram_range=(1, 2)).transform(texts)) * 5.0


def _standard(values: Array) -> Array:
    """(N, F), each column to mean 0 and deviation 1, cut at 10."""
    values = values.astype(np.float64)
    deviation = values.std(axis=0)
    return np.asarray(((values - values.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)).clip(-10, 10))


def measures(found: Noise) -> dict[str, Measure]:
    """Of the rows that were looked at."""
    shown = ", ".join(f"{one.id} is {one.given}, looks like {one.suggested}" for one in found.suspects[:3])
    detail = f"by {found.by}; {found.found:,} to look at" + (f": {shown}" if shown else "")
    return {"label_noise_fraction": Measure(value=found.share, n=found.n, detail=detail)}
