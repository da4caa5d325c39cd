"""A check of the user's: a class of their own module, named in the file as `kind: package.module:Class`.

It is the user's code, so whatever it does wrong is inconclusive: it cannot pass by a mistake, nor end a run.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, get_args

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.functions import contained, kept_out, load_function, raised
from mlratchet.models.gates.checks.base import Check, PolicyContext, own_kind
from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.checks.custom import read_only
from mlratchet.models.gates.checks.told import told_check
from mlratchet.models.gates.names import ALL_GATES
from mlratchet.models.gates.result import CheckResult, Verdict, unknown
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.closure import source_of
from mlratchet.models.nearest import nearest_hint
from pydantic import ConfigDict, PrivateAttr, TypeAdapter, ValidationError

_RESULT = TypeAdapter(CheckResult)


class AbsentCheck(Check):
    """A user's check whose class is not to be had here: refused before a run, inconclusive when it is judged.

    It keeps what the file says of it, so that a policy has the same digest where the class is missing.
    """

    model_config = ConfigDict(extra="allow")
    gates = ALL_GATES
    wears = True

    _why: str = PrivateAttr(default="")

    @classmethod
    def answers_to(cls, kind: str) -> bool:  # noqa: ARG003
        """Whatever the class is called."""
        return True

    def validate_in(self, context: PolicyContext, where: str) -> None:  # noqa: ARG002
        """It never does."""
        raise ConfigurationError(f"{where}: {self._why}")

    def judge(self, case: Case) -> CheckResult:  # noqa: ARG002
        """It cannot be."""
        return unknown(self.kind, name_of(self), "?", self._why)


def absent_check(declared: Mapping[str, Any], why: str) -> AbsentCheck:
    """Of what the file says."""
    absent = AbsentCheck.model_validate(dict(declared))
    absent._why = why
    return absent


def name_of(check: Check) -> str:
    """The class alone."""
    return check.kind.partition(":")[2]


def is_outside(check: Check) -> bool:
    """Whether it is the user's."""
    return not own_kind(type(check))


def is_foreign(check: Check, task: str) -> bool:
    """Whether a user's code has a part in its verdict: its own, a metric's or, of a check that reads the outputs of
    models, the objective's. Not of an absent one, which passes nothing."""
    if isinstance(check, AbsentCheck):
        return False
    return is_outside(check) or bool(check.user_code) or (":" in task and check.wears)


def load_check(reference: str) -> type[Check]:
    """The class of a reference. Raises ``ConfigurationError`` when there is none or it is no check."""
    try:
        found: Any = contained(lambda: load_function(reference, "check", what="class"))
    except ConfigurationError:
        raise
    except Exception as error:  # the user's module: what it raises is a mistake in it, told as one
        raise ConfigurationError(f"check {reference}: {raised(error)}") from error
    if not (isinstance(found, type) and issubclass(found, Check)):
        raise ConfigurationError(f"check {reference}: expected a subclass of {Check.__module__}.Check, got {found!r}")
    if inspect.isabstract(found):
        raise ConfigurationError(f"check {reference}: it has no {', '.join(sorted(found.__abstractmethods__))}")
    if own_kind(found):
        raise ConfigurationError(f"check {reference}: its kind is {own_kind(found)!r}; give the class `kind: str`")
    return found


def parse_outside(declared: Any) -> Check:
    """The user's check of a mapping, or an `AbsentCheck`; where users' modules are kept out, a `ToldCheck`. Raises
    ``ValueError`` for wrong parameters."""
    if isinstance(declared, Check):
        return declared
    if not isinstance(declared, Mapping):
        raise ValueError(f"expected a mapping with kind, got {type(declared).__name__}")
    return told_check(declared) if kept_out() else loaded_check(declared)


def loaded_check(declared: Mapping[str, Any]) -> Check:
    """Of its class, or an `AbsentCheck`. Raises ``ValidationError`` for wrong parameters."""
    try:
        found = load_check(str(declared["kind"]))
    except ConfigurationError as error:
        return absent_check(declared, str(error))
    for name in declared:
        if name not in found.model_fields and found.model_config.get("extra") == "forbid":
            raise ValueError(f"unknown key {name!r}; {nearest_hint(name, list(found.model_fields))}")
    return found.model_validate(dict(declared))


def validate_outside(check: Check, context: PolicyContext, where: str) -> None:
    """`validate_in` and what else is asked of it before a run. Raises ``ConfigurationError``."""
    try:
        contained(lambda: check.validate_in(context, where))
        canonical_json(check.model_dump(mode="json"))
        check.needs(), check.compares, check.subject, check.allowed_loss
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(f"{where}: {check.kind} raised {raised(error)}") from error


def judge_outside(check: Check, case: Case) -> CheckResult:
    """Judge on a read-only view of the evidence, and believe only a result that is one."""
    try:
        result = contained(lambda: check.judge(replace(case, evidence=read_only(case.evidence))))
        why = contained(lambda: malformed_result(result))
        method = "" if why else with_source(result.method or name_of(check), check.kind)
    except Exception as error:  # noqa: BLE001 - the user's code: its failure must not pass, nor crash
        why = f"raised {raised(error)}"
    if why:
        return unknown(check.kind, name_of(check), "?", f"{check.kind}: {why}")
    return replace(result, kind=check.kind, method=method)


def with_source(method: str, reference: str) -> str:
    """Names what the code is made of."""
    return f"{method}, source {source_of(reference).digest()[:12]}"


def malformed_result(result: Any) -> str:
    """What is wrong with a result; empty when nothing is."""
    if not isinstance(result, CheckResult):
        return f"gave {type(result).__name__}, expected a CheckResult"
    if result.verdict not in get_args(Verdict):
        return f"verdict must be one of {', '.join(get_args(Verdict))}, got {result.verdict!r}"
    if not isinstance(result.reason, str) or not result.reason.strip():
        return f"reason must say why in words, got {result.reason!r}"
    if result.verdict == "pass" and not (isinstance(result.value, float | int) and math.isfinite(result.value)):
        return f"a pass needs a finite value, got {result.value!r}"
    if isinstance(result.n, bool) or not isinstance(result.n, int) or result.n < 0:
        return f"n must be a number of rows, got {result.n!r}"
    try:
        _RESULT.validate_json(canonical_json(asdict(result)), strict=True)  # what a decision and its page can show
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return f"its result cannot be recorded: {place}: {first['msg']}, got {first['input']!r}"
    except (TypeError, ValueError) as error:
        return f"its result cannot be recorded: {error}"
    return ""
