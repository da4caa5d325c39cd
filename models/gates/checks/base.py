"""What a check is: one class that says what it needs, where it may stand, and how it is validated and judged."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args, get_origin

from mlratchet.models.config import StrictModel
from mlratchet.models.evaluation.baselines import BaselineModel
from mlratchet.models.evaluation.perturb import PerturbationSpec
from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.checks.naming import unknown_name
from mlratchet.models.gates.names import ALL_GATES
from mlratchet.models.gates.pilot import Pilot
from mlratchet.models.gates.result import CheckResult
from mlratchet.models.metrics import Metric
from mlratchet.models.metrics.outside import is_reference, load_metric
from mlratchet.models.sources.record import InputSpec
from pydantic import model_validator

SCORED_GATES = ("candidate", "staging", "champion")
"""Where the outputs of the models on the test rows are known."""
ARTIFACT_GATES = ("staging", "champion")
"""Where the exact artifact has been measured."""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What must be measured for a check beyond the candidate's and the champion's rows. Unmeasured, it never passes."""

    perturbations: tuple[PerturbationSpec, ...] = ()
    versions: tuple[int | str, ...] = ()  # numbers, `previous`: the champion before this one, `first`: the first one
    columns: tuple[str, ...] = ()  # of the rows
    slices: tuple[tuple[str, tuple[str, ...], str | None], ...] = ()  # (metric, columns, function)
    attributions: bool = False
    measures: tuple[str, ...] = ()  # of the delivery, that are taken on demand
    baselines: tuple[BaselineModel, ...] = ()  # trained in this run on the same rows


@dataclass(frozen=True, kw_only=True)
class PolicyContext:
    """What is known of the workload and the data when a policy is validated, before anything trains."""

    metrics: Mapping[str, Metric]
    task: str
    class_names: tuple[str, ...]
    columns: Sequence[str] | None = None  # that a row carries; None: not known before the data is read
    input_spec: InputSpec | None = None  # None: not known

    def metric(self, name: str, where: str) -> Metric:
        """The metric of a name or reference. Raises ``ConfigurationError``, with the nearest name."""
        if is_reference(name):
            return load_metric(name, self.task, where)
        if name not in self.metrics:
            raise unknown_name(where, "metric", name, list(self.metrics))
        return self.metrics[name]


class Check(StrictModel, ABC):
    """One kind of check. A class that leaves a declaration out is refused when it is defined.

    The product's own checks give `kind` a literal of its own; a user's class is named by where it is,
    `kind: package.module:Class`.
    """

    kind: str
    gates: ClassVar[tuple[str, ...]]
    """Where its evidence exists, in the order of `ALL_GATES`."""
    wears: ClassVar[bool]
    """Whether it looks at the test rows: every verdict on them wears them out (wear.py). At the data gate and in
    probation there are none to look at."""
    declarations: ClassVar[tuple[str, ...]] = ("gates", "wears")
    """What every class that can be judged must say."""
    paired: ClassVar[bool] = False
    """Whether it is the comparison with the champion that a champion gate should hold."""
    holds_level: ClassVar[bool] = False
    """Whether it stops a metric from falling a little with every promotion."""
    files: ClassVar[tuple[str, ...]] = ()
    """Files that its code opens, relative to its module: whoever changes one changes what it decides."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if inspect.isabstract(cls):
            if own_kind(cls):
                missing = ", ".join(sorted(cls.__abstractmethods__))
                raise TypeError(f"check {cls.__name__} of kind {own_kind(cls)!r} has no {missing}; give it one")
            return
        for name in cls.declarations:
            if not hasattr(cls, name):
                raise TypeError(f"check {cls.__name__} does not say {name}: {_MEANING[name]}")
        if not cls.gates or not set(cls.gates) <= set(ALL_GATES):
            raise TypeError(f"check {cls.__name__}: gates must be some of {', '.join(ALL_GATES)}, got {cls.gates!r}")
        if not isinstance(cls.wears, bool):
            raise TypeError(f"check {cls.__name__}: wears must be True or False, got {cls.wears!r}")

    @model_validator(mode="after")
    def _is_of_its_kind(self) -> Check:
        if not self.answers_to(self.kind):
            raise ValueError(f"kind must be {type(self).__module__}:{type(self).__qualname__}, got {self.kind}")
        return self

    @classmethod
    def answers_to(cls, kind: str) -> bool:
        """Whether the kind names this class: also where a package passes it on under another module."""
        return bool(own_kind(cls)) or (":" in kind and kind.rpartition(":")[2] == cls.__qualname__)

    @property
    def subject(self) -> str:
        """What is looked at: a metric, a measure or a property of the artifact."""
        return self.kind

    @property
    def compares(self) -> bool:
        """Whether it needs another version, so that it does not apply to the first model."""
        return False

    @property
    def allowed_loss(self) -> float | None:
        """How much of its metric may be lost with every promotion, in the metric's unit; None: it does not say."""
        return None

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The metrics that it reads."""
        return ()

    @property
    def user_code(self) -> tuple[str, ...]:
        """`package.module:name` of every function or class of the user's that decides its verdict."""
        metrics = tuple(name for name in self.metric_names if is_reference(name))
        return metrics if own_kind(type(self)) else (self.kind, *metrics)

    def needs(self) -> Needs:
        """What must be measured for it."""
        return Needs()

    def validate_in(self, context: PolicyContext, where: str) -> None:
        """Raises ``ConfigurationError``, beginning with `where`, for what could never be meant or never pass."""

    def power_note(self, pilot: Pilot) -> str:  # noqa: ARG002
        """Why the test rows cannot support it; empty when they can, or when it is no matter of rows."""
        return ""

    @abstractmethod
    def judge(self, case: Case) -> CheckResult:
        """The verdict with its reason. What is missing, undefined or not a number is `inconclusive`."""


_MEANING = {
    "gates": "a tuple of the gates where its evidence exists",
    "wears": "whether it looks at the test rows, which wears them out",
    "levels": "which of its fields are bounds in the metric's unit, on the side that is better",
    "margins": "which of its fields are differences in the metric's unit",
}


def own_kind(cls: type[Any]) -> str:
    """The literal that a class of check gives its `kind`; empty where it gives none."""
    fields = getattr(cls, "model_fields", {})
    annotation = fields["kind"].annotation if "kind" in fields else None
    return str(get_args(annotation)[0]) if get_origin(annotation) is Literal else ""
