"""Rows of a query that are ranked against each other: the proposal of a schema, and what the gates ask for."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.drafting.baseline import SURE, Bar, guessed_by_query, some_of
from mlratchet.models.drafting.features import features_of
from mlratchet.models.errors import DataError
from mlratchet.models.evaluation.statistics import detectable_difference
from mlratchet.models.metrics.ranking import Ndcg
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.nearest import nearest_hint
from mlratchet.models.schema.infer import Proposal
from mlratchet.models.schema.typing import GROUP, LABEL
from mlratchet.models.sources.record import GROUP_COLUMN

PLACES = 10  # of a query that count
FEWEST = 20  # queries


@dataclass(frozen=True, kw_only=True)
class RankingBar:
    """A bar, and what an equally good model may lose by chance."""

    bar: Bar
    margin: float
    queries: int  # to judge by, about


def ranked_by(proposal: Proposal, query: str) -> Proposal:
    """With the rows of a `query` as what is ranked. Raises ``DataError`` for a label that is no number and a column
    that is not there."""
    schema, label = proposal.schema, proposal.label
    if query not in proposal.columns:
        raise DataError(f"--rank: no column {query!r}; {nearest_hint(query, list(proposal.columns))}")
    if label is None or label.name == query:
        raise DataError(f"--rank {query!r}: no other column can be a relevance; name one with --label")
    one = proposal.columns[label.name]
    if one.field.kind != "number" or (pc.min(one.values.cast(pa.float64())).as_py() or 0.0) < 0:
        raise DataError(f"--rank {query!r}: label {label.name!r}: {one.reason}; a relevance is a number from 0 on")
    queries = proposal.columns[query].different
    if queries < FEWEST:
        raise DataError(f"--rank {query!r}: {queries} queries; expected at least {FEWEST} to train and judge by")
    number = one.field.model_copy(update={"nullable": False, "input": True, "whole": False, "values": None})
    known = schema.fields[query].model_copy(update={"input": False})
    fields = {**schema.fields, label.name: number, query: known}
    if not any(field.input for name, field in fields.items() if name != label.name):
        raise DataError(f"--rank {query!r}: no column to learn from beside it")
    why = "no input: a query stays on one side of the split, so that training knows none of the test rows'"
    key = None if schema.id in (query, label.name) else schema.id
    return replace(
        proposal,
        schema=schema.model_copy(update={"fields": fields, "group": query, "id": key}),
        label=replace(label, task="regression", classes=()),
        reasons={**proposal.reasons, query: why, label.name: "the relevance: the higher, the further in front"},
    )


def bar_of_ranking(table: pa.Table, proposal: Proposal, *, test_share: float) -> RankingBar:
    """By what a linear model reaches on queries that it was not trained on. `table`: typed rows."""
    some = table.take(pa.array(np.sort(some_of(len(table)))))
    y, query = np.asarray(some[LABEL].to_pylist(), dtype=np.float64), [str(one) for one in some[GROUP].to_pylist()]
    x = features_of(some, proposal.schema)
    guessed = guessed_by_query(np.zeros((len(y), 1)) if x is None else x, y, query)
    chance, linear = _ndcg(y, np.zeros(len(y)), query), _ndcg(y, guessed, query)
    queries = max(2, int(len({str(one) for one in table[GROUP].to_pylist()}) * test_share))
    spread = float(np.nanstd(linear)) if len(linear) else 0.5
    trivial, reached = float(np.mean(chance)), float(np.mean(linear))
    sure = SURE * spread / math.sqrt(queries)
    halfway = trivial + (reached - trivial) / 2
    floor = max(min(halfway, reached - sure), trivial if reached > trivial else halfway)
    bar = Bar(metric=f"ndcg_at_{PLACES}", trivial=trivial, linear=reached, floor=math.floor(100 * floor) / 100)
    lost = detectable_difference(float(np.std(linear - chance)) / 2, measured_n=1, n=queries, confidence=0.95)
    return RankingBar(bar=bar, margin=max(0.01, math.ceil(100 * lost) / 100), queries=queries)


def _ndcg(y: np.ndarray[Any, Any], score: np.ndarray[Any, Any], query: list[str]) -> np.ndarray[Any, Any]:
    """(Q,) of the queries that have a relevant row."""
    rows = RowOutputs(ids=[str(at) for at in range(len(y))], y=y, output=score, columns={GROUP_COLUMN: query})
    features = Ndcg(PLACES).features(rows)
    return np.asarray(features[features[:, 1] > 0, 0])
