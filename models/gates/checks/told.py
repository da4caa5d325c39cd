"""A user's check as a child tells of it, for a process that does not import its class: what it declares, and what must
be measured for it. It is judged in a child."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.evaluation.baselines import BaselineModel
from mlratchet.models.evaluation.perturb import PerturbationSpec
from mlratchet.models.functions import REFERENCE
from mlratchet.models.gates.checks.base import Check, Needs, PolicyContext
from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.names import ALL_GATES
from mlratchet.models.gates.result import CheckResult, unknown
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.ports.children import ForeignCodeError, children
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, TypeAdapter, ValidationError

DESCRIBE = "mlratchet.models.gates.in_child:describe"
LOOK_S = 60.0  # seconds in which a class says what it is
Word = Annotated[str, Field(max_length=300)]
Reference = Annotated[str, Field(pattern=REFERENCE, max_length=300)]


class Facts(BaseModel):
    """What a class of a user's says of a check. Checked as it comes: whatever it is not makes the check absent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gates: tuple[Word, ...] = Field(min_length=1, max_length=len(ALL_GATES))
    wears: bool
    paired: bool
    holds_level: bool
    subject: Word
    compares: bool
    allowed_loss: float | None = Field(allow_inf_nan=False)
    metric_names: tuple[Word, ...]
    user_code: tuple[Reference, ...]
    perturbations: tuple[PerturbationSpec, ...] = ()
    versions: tuple[int | Word, ...] = ()
    columns: tuple[Word, ...] = ()
    slices: tuple[tuple[Word, tuple[Word, ...], Word | None], ...] = ()
    attributions: bool = False
    baselines: tuple[BaselineModel, ...] = ()


class ToldCheck(Check):
    """It keeps every field that its class gives it, so that a policy has the digest that it has where the class is."""

    model_config = ConfigDict(extra="allow")
    gates = ALL_GATES
    wears = True

    _facts: Facts = PrivateAttr()

    @classmethod
    def answers_to(cls, kind: str) -> bool:  # noqa: ARG003
        """Whatever the class is called."""
        return True

    @property
    def subject(self) -> str:
        """As told."""
        return self._facts.subject

    @property
    def compares(self) -> bool:
        """As told."""
        return self._facts.compares

    @property
    def allowed_loss(self) -> float | None:
        """As told."""
        return self._facts.allowed_loss

    @property
    def metric_names(self) -> tuple[str, ...]:
        """As told."""
        return self._facts.metric_names

    @property
    def user_code(self) -> tuple[str, ...]:
        """As told, and the class itself whatever it tells."""
        return tuple(dict.fromkeys((self.kind, *self._facts.user_code)))

    def needs(self) -> Needs:
        """As told."""
        facts = self._facts
        return Needs(
            perturbations=facts.perturbations,
            versions=facts.versions,
            columns=facts.columns,
            slices=facts.slices,
            attributions=facts.attributions,
            baselines=facts.baselines,
        )

    def validate_in(self, context: PolicyContext, where: str) -> None:  # noqa: ARG002
        """Only its class can."""
        raise ConfigurationError(f"{where}: {self.kind} is validated in a child")

    def judge(self, case: Case) -> CheckResult:  # noqa: ARG002
        """Only its class can."""
        return unknown(self.kind, self.kind.partition(":")[2], "?", "it is judged in a child, and was not")


def told_check(declared: Mapping[str, Any]) -> Check:
    """Of a child's word. Raises ``ValueError`` for parameters that its class refuses."""
    from mlratchet.models.gates.checks.outside import absent_check

    try:
        told = children().call(DESCRIBE, {"declared": dict(declared)}, time_limit_s=LOOK_S)
        if told.get("refused") is not None:
            raise ValueError(str(told["refused"])[:2000])
        if told.get("absent") is not None:
            return absent_check(declared, str(told["absent"])[:2000])
        facts, dumped = Facts.model_validate(told["facts"]), dict(told["dumped"])
        if not set(facts.gates) <= set(ALL_GATES) or dumped.get("kind") != declared.get("kind"):
            return absent_check(declared, f"{declared['kind']} does not say what a check is")
        canonical_json(dumped)
    except (ForeignCodeError, ValidationError, KeyError, TypeError, AttributeError) as error:
        return absent_check(declared, f"{declared['kind']}: {error}"[:2000])
    check = _class_of(facts.gates, facts.wears, facts.paired, facts.holds_level).model_validate(dumped)
    check._facts = facts
    return check


@lru_cache
def _class_of(gates: tuple[str, ...], wears: bool, paired: bool, holds_level: bool) -> type[ToldCheck]:
    """What belongs to a class: one per combination, so that equal checks are equal."""
    says = {"gates": gates, "wears": wears, "paired": paired, "holds_level": holds_level, "__module__": __name__}
    return type("ToldCheck", (ToldCheck,), says)


_RESULT = TypeAdapter(CheckResult)
MOST_RESULT = 1 << 20  # bytes of a result as JSON


def result_of(told: Any) -> CheckResult:
    """A result as a child gave it. Raises ``ForeignCodeError`` for what is none."""
    try:
        body = canonical_json(told)
        if len(body) > MOST_RESULT:
            raise ForeignCodeError(f"its result has {len(body)} bytes, at most {MOST_RESULT} are recorded")
        return _RESULT.validate_json(body, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise ForeignCodeError(f"its result cannot be recorded: {first['loc']}: {first['msg']}") from error
    except (TypeError, ValueError) as error:
        raise ForeignCodeError(f"its result cannot be recorded: {error}") from error
