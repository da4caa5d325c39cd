"""A user's objective in a child: for a process that does not import it. What it trains with is not to be had here."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence, Sized
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.functions import KeptOutError
from mlratchet.models.metrics.away import (
    LIMIT_S,
    answer_for,
    ask_with_rows,
    facts_of,
    handed_back,
    metric_away,
    sent_in,
)
from mlratchet.models.metrics.base import Metric
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.base import Array, Loss, Objective
from mlratchet.models.ports.children import Children, ForeignCodeError, Workplace, children
from mlratchet.models.sources.record import Target
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

if TYPE_CHECKING:
    import torch

DESCRIBE, ASK, ASK_METRIC = f"{__name__}:describe", f"{__name__}:ask", f"{__name__}:ask_metric"
Kind = TypeVar("Kind")
MOST_PICTURE = 8 << 20  # bytes
CAPTION = re.compile(r"^[\w .,()/+-]{1,120}$")
PNG = b"\x89PNG\r\n\x1a\n"


class ObjectiveFacts(BaseModel):
    """What an objective says of itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    class_loss: str
    by_query: bool
    has_accuracy: bool
    linear_model: str
    badness_unit: str
    unfit_perturbations: dict[str, str]
    losses: tuple[str, ...]


class ObjectiveAway(Objective):
    """Every answer comes from a child. `through`: who makes the calls; None: whoever makes those of this process."""

    def __init__(self, task: str, through: Children | None = None) -> None:
        self._task, self._through = task, through
        described = (through or children()).call(DESCRIBE, {"task": task}, time_limit_s=LIMIT_S)
        try:
            facts = ObjectiveFacts.model_validate(described)
        except ValidationError as error:
            raise ForeignCodeError(f"objective {task} does not say what it is: {error.errors()[0]['msg']}") from error
        self.name, self.class_loss, self.by_query = facts.name, facts.class_loss, facts.by_query
        self.has_accuracy, self.badness_unit = facts.has_accuracy, facts.badness_unit
        self.linear_model = facts.linear_model
        self.unfit_perturbations, self._losses = facts.unfit_perturbations, facts.losses

    @property
    def reference(self) -> str:
        """See the base."""
        return self._task

    def loss(self, output: torch.Tensor, target: torch.Tensor, *, label_smoothing: float) -> torch.Tensor:  # noqa: ARG002
        """Asked where it trains."""
        raise KeptOutError(f"objective {self._task} has its loss where it trains alone")

    def named_losses(self, *, weight: torch.Tensor | None, label_smoothing: float) -> Mapping[str, Loss]:  # noqa: ARG002
        """Their names: they are asked where it trains."""

        def never(_output: torch.Tensor, _target: torch.Tensor) -> torch.Tensor:
            raise KeptOutError(f"objective {self._task} has its losses where it trains alone")

        return dict.fromkeys(self._losses, never)

    def metrics(self, class_names: tuple[str, ...]) -> Sequence[Metric]:
        """See the base."""
        return self._metrics(class_names, over=False)

    def metrics_over(self, class_names: tuple[str, ...]) -> Sequence[Metric]:
        """See the base."""
        return self._metrics(class_names, over=True)

    def _metrics(self, class_names: tuple[str, ...], *, over: bool) -> list[Metric]:
        which = {"class_names": list(class_names), "over": over}
        told, _ = self._ask("metrics", values=which)
        names = {"task": self._task, **which}
        return [metric_away(ASK_METRIC, {**names, "number": at}, one) for at, one in enumerate(told)]

    def answers(self, output: torch.Tensor, class_names: tuple[str, ...]) -> list[dict[str, Any]]:
        """See the base."""
        told, _ = self._ask("answers", arrays={"output": output.numpy()}, values={"class_names": list(class_names)})
        return _checked(list[dict[str, Any]], told, "answers", len(output))

    def answer_schema(self, class_names: tuple[str, ...]) -> dict[str, Any]:
        """See the base."""
        return _checked(
            dict[str, Any], self._ask("answer_schema", values={"class_names": list(class_names)})[0], "schema"
        )

    def output_shapes(self, class_names: tuple[str, ...]) -> frozenset[tuple[int, ...]]:
        """See the base."""
        told, _ = self._ask("output_shapes", values={"class_names": list(class_names)})
        return frozenset(_checked(list[tuple[int, ...]], told, "output_shapes"))

    def refusal(self, target: Target, class_names: tuple[str, ...]) -> str:
        """See the base. One call a target: rows are asked about where they are read."""
        values = {"target": list(target) if isinstance(target, tuple) else target, "class_names": list(class_names)}
        return _checked(str, self._ask("refusal", values=values)[0], "refusal")

    def numbers(self, output: Array) -> Array:
        """See the base."""
        return self._array("numbers", len(output), arrays={"output": output})

    def wanted(self, y: Array, class_names: tuple[str, ...]) -> list[str]:
        """See the base."""
        told, _ = self._ask("wanted", arrays={"y": y}, values={"class_names": list(class_names)})
        return _checked(list[str], told, "wanted", len(y))

    def said(self, rows: RowOutputs, class_names: tuple[str, ...]) -> list[str]:
        """See the base."""
        told, _ = self._ask("said", [rows], values={"class_names": list(class_names)})
        return _checked(list[str], told, "said", len(rows.ids))

    def badness(self, rows: RowOutputs) -> Array:
        """See the base."""
        return self._array("badness", len(rows.ids), [rows])

    def differ(self, a: RowOutputs, b: RowOutputs) -> Array:
        """See the base."""
        return self._array("differ", len(a.ids), [a, b]).astype(bool)

    def pictures(self, rows: RowOutputs, class_names: tuple[str, ...]) -> dict[str, bytes]:
        """See the base."""
        return _pictures(self._ask("pictures", [rows], values={"class_names": list(class_names)})[0])

    def comparison_pictures(self, a: RowOutputs, b: RowOutputs) -> dict[str, bytes]:
        """See the base."""
        return _pictures(self._ask("comparison_pictures", [a, b])[0])

    def _array(
        self, method: str, length: int, rows: list[RowOutputs] | None = None, arrays: Mapping[str, Array] | None = None
    ) -> Array:
        found = self._ask(method, rows, arrays)[1].get("it")
        if found is None or len(found) != length:
            raise ForeignCodeError(f"{self._task}: {method} gave no value for each of {length} rows")
        return found

    def _ask(
        self,
        method: str,
        rows: list[RowOutputs] | None = None,
        arrays: Mapping[str, Array] | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Array]]:
        request = {"task": self._task, "method": method, **(values or {})}
        return ask_with_rows(ASK, request, rows or [], arrays or {}, self._through)


def _checked(kind: type[Kind], told: Any, what: str, length: int | None = None) -> Kind:
    try:
        found: Kind = TypeAdapter(kind).validate_python(told)
    except ValidationError as error:
        raise ForeignCodeError(f"{what}: {error.errors()[0]['msg']}") from error
    if length is not None and isinstance(found, Sized) and len(found) != length:
        raise ForeignCodeError(f"{what}: got {len(found)}, expected one for each of {length} rows")
    return found


def _pictures(told: Any) -> dict[str, bytes]:
    found = {name: base64.b64decode(text) for name, text in _checked(dict[str, str], told, "pictures").items()}
    for name, data in found.items():
        if not CAPTION.match(name) or ".." in name or len(data) > MOST_PICTURE or not data.startswith(PNG):
            raise ForeignCodeError(f"pictures: {name[:50]!r} is no PNG of at most {MOST_PICTURE} bytes")
    return found


def _objective(request: Mapping[str, Any]) -> Objective:
    from mlratchet.models.objectives.naming import objective_of

    return objective_of(request["task"])


def describe(request: Mapping[str, Any], _workplace: Workplace) -> dict[str, Any]:
    """In the child."""
    one = _objective(request)
    if one.reference != request["task"]:
        raise ConfigurationError(f"objective {request['task']} calls itself {one.reference}")
    return {
        "name": one.name,
        "class_loss": one.class_loss,
        "by_query": one.by_query,
        "has_accuracy": one.has_accuracy,
        "linear_model": one.linear_model,
        "badness_unit": one.badness_unit,
        "unfit_perturbations": dict(one.unfit_perturbations),
        "losses": list(one.named_losses(weight=None, label_smoothing=0.0)),
    }


def ask_metric(request: Mapping[str, Any], workplace: Workplace) -> dict[str, Any]:
    """In the child: one metric of the objective."""
    return answer_for(list(_all_metrics(request))[request["number"]], request, workplace)


def _all_metrics(request: Mapping[str, Any]) -> Sequence[Metric]:
    one, names = _objective(request), tuple(request["class_names"])
    return one.metrics_over(names) if request["over"] else one.metrics(names)


def ask(request: Mapping[str, Any], workplace: Workplace) -> dict[str, Any]:
    """In the child: one method of the objective."""
    one, names = _objective(request), tuple(request.get("class_names", ()))
    rows, arrays = sent_in(request, workplace)
    method = request["method"]
    plain: Mapping[str, Callable[[], Any]] = {
        "metrics": lambda: [facts_of(metric) for metric in _all_metrics(request)],
        "answers": lambda: one.answers(_tensor(arrays["output"]), names),
        "answer_schema": lambda: one.answer_schema(names),
        "output_shapes": lambda: [list(shape) for shape in sorted(one.output_shapes(names))],
        "refusal": lambda: one.refusal(_target(request["target"]), names),
        "wanted": lambda: one.wanted(arrays["y"], names),
        "said": lambda: one.said(rows[0], names),
        "pictures": lambda: _texts(one.pictures(rows[0], names)),
        "comparison_pictures": lambda: _texts(one.comparison_pictures(*rows)),
    }
    if method in plain:
        return handed_back(workplace, plain[method]())
    found: Mapping[str, Callable[[], Array]] = {
        "numbers": lambda: one.numbers(arrays["output"]),
        "badness": lambda: one.badness(rows[0]),
        "differ": lambda: np.asarray(one.differ(*rows), dtype=np.uint8),
    }
    return handed_back(workplace, None, {"it": np.asarray(found[method]())})


def _tensor(array: Array) -> torch.Tensor:
    import torch

    return torch.from_numpy(array)


def _target(told: Any) -> Target:
    found: Target = tuple(_target(one) for one in told) if isinstance(told, list) else told  # type: ignore[assignment]
    return found


def _texts(pictures: Mapping[str, bytes]) -> dict[str, str]:
    return {name: base64.b64encode(data).decode() for name, data in pictures.items()}
