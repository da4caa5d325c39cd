"""A baseline: a linear model of scikit-learn, trained on the training rows of a dataset and asked about its test rows.

It takes what the candidate takes, the prepared tensors. A child trains it: it reads shards, one at a time, and at most
`MOST_ROWS` training rows, drawn by a seed; the result says how many of how many.
Shape legend: N rows, F columns, C classes or labels.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from mlratchet.models.data.dataset import DatasetManifest, ShardRef
from mlratchet.models.data.shards import read_shard
from mlratchet.models.errors import ConfigurationError, DataError
from mlratchet.models.evaluation.plain_features import PlainFeatures, dense_width, entities_of
from mlratchet.models.metrics.rows import RowOutputs, load_rows, save_rows
from mlratchet.models.ports.children import ForeignCodeError, Rights, Workplace, children
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.sources.record import Split
from mlratchet.models.tensors.named import Inputs

Array = np.ndarray[Any, Any]
BaselineModel = Literal["linear", "bias"]
MODELS: tuple[BaselineModel, ...] = get_args(BaselineModel)
MOST_ROWS = 100_000  # training rows
MOST_NUMBERS = 40_000_000  # of their features: 160 MB
PENALTIES = (300.0, 30.0, 3.0, 0.3, 0.03)  # of the squared weights; the validation rows choose
MOST_STEPS = 100  # of the solver: a baseline, not a model
HOUR_S = 3600.0
TRAIN = f"{__name__}:train_in_child"
LENT = Rights(read=("shards/", "rows/"), create=("rows/",))


@dataclass(frozen=True, kw_only=True, eq=False)
class Baseline:
    """What a baseline answered, and what it was trained on."""

    outputs: RowOutputs  # of every test row
    trained_on: int  # rows
    of: int  # training rows of the dataset
    penalty: float  # the strength that the validation rows chose

    @property
    def words(self) -> str:
        """What it was trained on."""
        part = f"{self.trained_on:,} of {self.of:,}" if self.trained_on < self.of else f"{self.of:,}"
        return f"trained on {part} rows"


def train_baseline(
    store: ObjectStore, dataset: DatasetManifest, rows: Split, *, model: BaselineModel, learns: str, outputs: int,
    told: Sequence[str] = (),
) -> Baseline:  # fmt: skip
    """Trained now, and asked about the test rows `rows`. `learns`: as
    `Objective.linear_model`. `outputs`: classes or labels; 1 for a number. `told`: columns of entities that the
    candidate is not given; `bias` has a mean for each of them, too.

    Raises ``ConfigurationError`` where there is none for these rows, or its answer is none.
    """
    asked = {
        "splits": {side: [ref.model_dump(mode="json") for ref in refs] for side, refs in dataset.splits.items()},
        "model": model,
        "learns": learns,
        "outputs": outputs,
        "told": list(told) if model == "bias" else [],
    }
    answer = children().call(TRAIN, asked, store=store, rights=LENT, time_limit_s=HOUR_S)
    try:
        found = load_rows(store, str(answer["rows"]))
        counts = int(answer["trained_on"]), int(answer["of"]), float(answer["penalty"])
    except (KeyError, TypeError, ValueError) as error:
        raise ForeignCodeError(f"baseline {model}: its answer is none: {error}"[:300]) from error
    if found.ids != rows.ids or not np.array_equal(found.y, rows.y) or not np.isfinite(found.output).all():
        raise ForeignCodeError(f"baseline {model}: answered other rows than the test side has, or no numbers")
    answered = RowOutputs(ids=rows.ids, y=rows.y, output=found.output, columns=rows.columns, dataset_id=dataset.id)
    return Baseline(outputs=answered, trained_on=counts[0], of=counts[1], penalty=counts[2])


def train_in_child(request: Mapping[str, Any], workplace: Workplace) -> dict[str, Any]:
    """In the child: the answers as rows of the store, and what they were learnt from."""
    from threadpoolctl import threadpool_limits

    store = workplace.objects
    sides = {side: [ShardRef.model_validate(ref) for ref in refs] for side, refs in request["splits"].items()}
    total = sum(ref.rows for ref in sides["train"])
    x, y, columns = sample_of(store, sides["train"], most=MOST_ROWS, told=request["told"])
    known = {name: codes_of(cells) for name, cells in columns.items()}
    x = with_told(x, columns, known)
    names = (*entities_of(x.specs), *known) if request["model"] == "bias" else ()
    if request["model"] == "bias" and not names:
        raise ConfigurationError("baseline bias: needs entities, and there is none; write linear")
    features = PlainFeatures.fitted(x, names=tuple(dict.fromkeys(names)))
    other, other_y, beside = sample_of(store, sides["validation"], most=MOST_ROWS // 4, told=request["told"])
    chosen = features.matrix(with_told(other, beside, known)), other_y
    with threadpool_limits(1):  # on a busy machine more threads wait for each other; and its sums depend on them
        fitted, penalty = best_fit(request["learns"], (features.matrix(x), y), chosen, request["outputs"])
    ids, targets, answers = list[str](), [], []
    for ref in sides["test"]:
        rows = read_shard(store, ref)
        ids += rows.ids
        targets.append(rows.y)
        answers.append(fitted.answers(features.matrix(with_told(rows.x, rows.columns, known))))
    outputs = RowOutputs(ids=ids, y=np.concatenate(targets), output=np.concatenate(answers).astype(np.float32))
    return {"rows": save_rows(store, outputs), "trained_on": len(x), "of": total, "penalty": penalty}


def sample_of(
    store: ObjectStore, refs: Sequence[ShardRef], *, most: int, seed: int = 0, told: Sequence[str] = ()
) -> tuple[Inputs, Array, dict[str, list[str]]]:
    """At most `most` rows of a side, drawn by the seed, and fewer where they are wide; their columns `told` beside
    them. Raises ``DataError`` for a side without rows."""
    if not refs:
        raise DataError("baseline: a side of the dataset has no rows")
    width = max(1, dense_width(read_shard(store, refs[0]).x.specs))
    total = sum(ref.rows for ref in refs)
    count = min(total, most, max(1, MOST_NUMBERS // width))
    places = np.sort(np.random.default_rng(seed).permutation(total)[:count])
    inputs, targets, at = [], [], 0
    columns: dict[str, list[str]] = {name: [] for name in told}
    for ref in refs:
        own = places[(places >= at) & (places < at + ref.rows)] - at
        at += ref.rows
        if len(own):
            rows = read_shard(store, ref)
            inputs.append(rows.x.take(own))
            targets.append(rows.y[own])
            for name, cells in columns.items():
                cells += [rows.columns[name][place] for place in own]
    return Inputs.concat(inputs), np.concatenate(targets), columns


def codes_of(cells: Sequence[str]) -> dict[str, int]:
    """A code from 1 on for each cell that occurs: 0 is for what did not."""
    return {cell: code for code, cell in enumerate(dict.fromkeys(cells), start=1)}


def with_told(x: Inputs, columns: Mapping[str, Sequence[str]], known: Mapping[str, Mapping[str, int]]) -> Inputs:
    """The inputs and, by the names of their columns, the codes of the entities that were told beside them."""
    told = {name: np.array([codes.get(cell, 0) for cell in columns[name]]) for name, codes in known.items()}
    return Inputs({**x.columns, **told}) if told else x


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A linear model per output."""

    weights: Array  # (F, C)
    offsets: Array  # (C,)
    one: bool  # whether an answer is one number, (N,), and not (N, C)

    def answers(self, x: Any) -> Array:
        """(N, C) logits, or (N,) numbers."""
        found = np.asarray(x @ self.weights + self.offsets)
        return found[:, 0] if self.one else found


Rows = tuple[Any, Array]  # (N, F) matrix, (N,) or (N, C) targets


def best_fit(learns: str, train: Rows, chosen_on: Rows, outputs: int) -> tuple[Fitted, float]:
    """The model whose penalty does best on other rows than the training rows, and that penalty. From strong to weak,
    as long as it gets better. `learns`: as `Objective.linear_model`.

    Raises ``ConfigurationError`` for an objective that has no linear model.
    """
    if learns not in LEARNERS:
        raise ConfigurationError("baseline: there is no linear model for this objective")
    fit, lost = LEARNERS[learns]
    best: tuple[float, float, Fitted] | None = None
    for penalty in PENALTIES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it did not converge: it is a bar, not a model
            fitted = fit(*train, outputs, penalty)
        loss = lost(fitted.answers(chosen_on[0]).astype(np.float64), chosen_on[1])
        if best is not None and loss >= best[0]:
            break
        best = loss, penalty, fitted
    assert best is not None
    return best[2], best[1]


def _classes(x: Any, y: Array, outputs: int, penalty: float) -> Fitted:
    """Logits of every class; of one that training does not hold, far below the others."""
    from sklearn.linear_model import LogisticRegression

    weights, offsets = np.zeros((x.shape[1], outputs)), np.full(outputs, -20.0)
    known = np.unique(y).astype(int)
    if len(known) == 1:
        offsets[known] = 0.0
        return Fitted(weights=weights, offsets=offsets, one=False)
    model = LogisticRegression(C=1 / penalty, max_iter=MOST_STEPS).fit(x, y)
    if len(known) == 2:  # one row of coefficients: those of the second class against the first
        offsets[known] = 0.0, model.intercept_[0]
        weights[:, known[1]] = model.coef_[0]
    else:
        offsets[known] = model.intercept_
        weights[:, known] = model.coef_.T
    return Fitted(weights=weights, offsets=offsets, one=False)


def _labels(x: Any, y: Array, outputs: int, penalty: float) -> Fitted:
    """A model of each label by itself; (N, C) logits."""
    weights, offsets = np.zeros((x.shape[1], outputs)), np.zeros(outputs)
    for place in range(outputs):
        one = _classes(x, y[:, place], 2, penalty)
        weights[:, place] = one.weights[:, 1] - one.weights[:, 0]
        offsets[place] = one.offsets[1] - one.offsets[0]
    return Fitted(weights=weights, offsets=offsets, one=False)


def _numbers(x: Any, y: Array, outputs: int, penalty: float) -> Fitted:  # noqa: ARG001
    from sklearn.linear_model import Ridge

    model = Ridge(alpha=penalty, solver="auto").fit(x, y.astype(np.float64))
    return Fitted(
        weights=np.asarray(model.coef_).reshape(-1, 1), offsets=np.asarray([model.intercept_]).reshape(1), one=True
    )


def _log_loss(answers: Array, y: Array) -> float:
    """Mean, of logits of classes."""
    top = answers.max(axis=1, keepdims=True)
    spread = top[:, 0] + np.log(np.exp(answers - top).sum(axis=1))
    return float((spread - answers[np.arange(len(y)), y.astype(int)]).mean())


def _log_loss_of_labels(answers: Array, y: Array) -> float:
    """Mean, of a logit per label."""
    return float(np.logaddexp(0.0, np.where(y > 0, -answers, answers)).mean())


def _squared_error(answers: Array, y: Array) -> float:
    """Mean."""
    return float(((answers - y) ** 2).mean())


LEARNERS: dict[str, tuple[Callable[[Any, Array, int, float], Fitted], Callable[[Array, Array], float]]] = {
    "classes": (_classes, _log_loss),
    "labels": (_labels, _log_loss_of_labels),
    "number": (_numbers, _squared_error),
}
"""How a model is fitted, and what the validation rows choose its penalty by."""
