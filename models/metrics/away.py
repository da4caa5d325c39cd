"""A user's metric, or one of a user's objective, in a child: for a process that does not import it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.metrics.base import Array, Metric, MetricValue
from mlratchet.models.metrics.rows import RowOutputs, load_rows, save_rows
from mlratchet.models.ports.children import Children, ForeignCodeError, Rights, Workplace, children
from mlratchet.models.ports.memory import ObjectsInMemory
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

LENT = Rights(read=("rows/", "in/"), create=("out/",))
LIMIT_S = 600.0
MOST_WORDS = 2000


class MetricFacts(BaseModel):
    """What a metric says of itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    direction: Literal["higher", "lower"]
    unit: str
    formula: str
    source: str
    tasks: tuple[str, ...]
    span: tuple[float, float]
    group_column: str | None
    biased: bool


class MetricAway(Metric):
    """Every value comes from a child, which gets a copy of the rows."""

    def __init__(self, function: str, which: Mapping[str, Any], facts: MetricFacts) -> None:
        self._function, self._which = function, dict(which)
        self.name, self.direction, self.unit, self.formula = facts.name, facts.direction, facts.unit, facts.formula
        self.source, self.tasks, self.span = facts.source, facts.tasks, facts.span
        self.group_column, self.biased = facts.group_column, facts.biased

    def estimate(self, rows: RowOutputs) -> MetricValue:
        """See the base; NaN, with what it did wrong as the reason, where the child gives no value."""
        n = len(rows.ids)
        try:
            told, _ = self._ask("estimate", rows)
            value, reason = float(told["value"]), str(told["reason"])[:MOST_WORDS]
        except (ConfigurationError, KeyError, TypeError, ValueError) as error:
            return MetricValue(value=math.nan, n=n, reason=f"{self.name}: {error}"[:MOST_WORDS])
        return MetricValue(value=value, n=n, reason=reason or ("" if math.isfinite(value) else "it is not a number"))

    def value(self, rows: RowOutputs) -> float:
        """See the base."""
        return self.estimate(rows).value

    def weighted(self, rows: RowOutputs, weights_RN: Array) -> Array:
        """See the base."""
        return self._array("weighted", rows, len(weights_RN), weights=weights_RN)

    def influence(self, rows: RowOutputs) -> Array:
        """See the base."""
        return self._array("influence", rows, None if self.group_column else len(rows.ids))

    def _array(self, method: str, rows: RowOutputs, length: int | None, **arrays: Array) -> Array:
        _, given = self._ask(method, rows, **arrays)
        found = given.get("it")
        if found is None or found.ndim != 1 or found.dtype != np.float64 or length not in (None, len(found)):
            raise ForeignCodeError(f"{self.name}: {method} gave no float64 values, one for each")
        return found

    def _ask(self, method: str, rows: RowOutputs, **arrays: Array) -> tuple[Any, dict[str, Array]]:
        return ask_with_rows(self._function, {**self._which, "method": method}, [rows], arrays)


def ask_with_rows(
    function: str,
    request: Mapping[str, Any],
    rows: list[RowOutputs],
    arrays: Mapping[str, Array],
    through: Children | None = None,
) -> tuple[Any, dict[str, Array]]:
    """Call a function of ours with rows and arrays: JSON values and arrays that it gives. `through`: who makes the
    call; None: whoever makes those of this process."""
    lent = ObjectsInMemory("rows")
    keys = [save_rows(lent, one) for one in rows]
    if arrays:
        lent.put("in/arrays", save({name: np.ascontiguousarray(one) for name, one in arrays.items()}))
    asked = {**request, "rows": keys, "arrays": bool(arrays)}
    told = (through or children()).call(function, asked, store=lent, rights=LENT, time_limit_s=LIMIT_S)
    try:
        return told["json"], load(lent.get(f"out/{told['arrays']}")) if told["arrays"] else {}
    except (SafetensorError, KeyError, TypeError) as error:
        raise ForeignCodeError(f"{function}: its answer is none: {error}") from error


def sent_in(request: Mapping[str, Any], workplace: Workplace) -> tuple[list[RowOutputs], dict[str, Array]]:
    """In the child: rows and arrays that came along."""
    store = workplace.objects
    return [load_rows(store, key) for key in request["rows"]], load(store.get("in/arrays")) if request["arrays"] else {}


def handed_back(workplace: Workplace, json: Any, arrays: Mapping[str, Array] | None = None) -> dict[str, Any]:
    """In the child: the answer."""
    if not arrays:
        return {"json": json, "arrays": ""}
    data = save({name: np.ascontiguousarray(one) for name, one in arrays.items()})
    workplace.objects.create(f"out/{digest_bytes(data)}", data)
    return {"json": json, "arrays": digest_bytes(data)}


def facts_of(metric: Metric) -> dict[str, Any]:
    """In the child: as JSON values."""
    return {
        "name": metric.name,
        "direction": metric.direction,
        "unit": metric.unit,
        "formula": metric.formula,
        "source": metric.source,
        "tasks": list(metric.tasks),
        "span": list(metric.span),
        "group_column": metric.group_column,
        "biased": metric.biased,
    }


def metric_away(function: str, which: Mapping[str, Any], told: Any) -> MetricAway:
    """Of a child's word. Raises ``ForeignCodeError`` for what is none."""
    try:
        return MetricAway(function, which, MetricFacts.model_validate(told))
    except ValidationError as error:
        raise ForeignCodeError(f"a metric does not say what it is: {error.errors()[0]['msg']}") from error


def answer_for(metric: Metric, request: Mapping[str, Any], workplace: Workplace) -> dict[str, Any]:
    """In the child: what a `MetricAway` asks."""
    (rows,), arrays = sent_in(request, workplace)
    if request["method"] == "weighted":
        return handed_back(workplace, None, {"it": np.asarray(metric.weighted(rows, arrays["weights"]), np.float64)})
    if request["method"] == "influence":
        return handed_back(workplace, None, {"it": np.asarray(metric.influence(rows), dtype=np.float64)})
    found = metric.estimate(rows)
    return handed_back(workplace, {"value": float(found.value), "reason": found.reason})


REFERRED, DESCRIBED = f"{__name__}:ask_referred", f"{__name__}:describe_referred"


def load_away(reference: str, task: str, where: str) -> MetricAway:
    """The metric of a reference. Raises ``ConfigurationError`` as `load_metric`."""
    which = {"reference": reference, "task": task, "where": where}
    return metric_away(REFERRED, which, children().call(DESCRIBED, which, time_limit_s=LIMIT_S))


def describe_referred(request: Mapping[str, Any], _workplace: Workplace) -> dict[str, Any]:
    """In the child."""
    return facts_of(_referred(request))


def ask_referred(request: Mapping[str, Any], workplace: Workplace) -> dict[str, Any]:
    """In the child."""
    return answer_for(_referred(request), request, workplace)


def _referred(request: Mapping[str, Any]) -> Metric:
    from mlratchet.models.metrics.outside import load_metric

    return load_metric(request["reference"], request["task"], request["where"])
