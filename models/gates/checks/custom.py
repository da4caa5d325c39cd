"""`custom`: a function of the user's judges the evidence."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Mapping
from numbers import Real
from typing import Any, Literal

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.functions import REFERENCE, contained, load_function, raised
from mlratchet.models.gates.checks.base import SCORED_GATES, Check, PolicyContext
from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.checks.naming import unknown_name
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.gates.result import CheckResult, unknown
from mlratchet.models.identity.closure import source_of
from mlratchet.models.metrics.rows import RowOutputs
from pydantic import Field

VERDICTS = ("pass", "fail", "inconclusive")


class CustomCheck(Check):
    """`function(evidence, **parameters)` gives a mapping with value, verdict and reason."""

    gates = ("data", *SCORED_GATES, "probation")
    wears = True  # it may look at whatever it is given

    kind: Literal["custom"]
    function: str = Field(pattern=REFERENCE)
    """`package.module:function`."""
    parameters: dict[str, Any] = Field(default_factory=dict)

    @property
    def user_code(self) -> tuple[str, ...]:
        """The function."""
        return (self.function,)

    def validate_in(self, context: PolicyContext, where: str) -> None:  # noqa: ARG002
        """A function that there is and that takes these parameters."""
        found = load_function(self.function, where)
        try:
            signature = inspect.signature(found)
        except (TypeError, ValueError):
            return  # a builtin tells no signature
        variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        named = [name for name, one in signature.parameters.items() if one.kind not in variable]
        takes_any = any(one.kind is one.VAR_KEYWORD for one in signature.parameters.values())
        for name in self.parameters:
            if name not in named[1:] and not takes_any:
                raise unknown_name(where, f"parameter of {self.function}", name, named[1:] or ["none"])
        try:
            signature.bind(Evidence(), **self.parameters)
        except TypeError as error:
            raise ConfigurationError(
                f"{where}: {self.function} cannot be called with these parameters: {error}"
            ) from error

    def judge(self, case: Case) -> CheckResult:
        """Call the function on a read-only view of the evidence. Whatever it does wrong is inconclusive."""
        name = self.function.partition(":")[2]
        try:
            function = contained(lambda: load_function(self.function, "custom check"))
            answer = contained(lambda: function(read_only(case.evidence), **self.parameters))
            source = source_of(self.function).digest()[:12]
        except ConfigurationError as error:
            return unknown(self.kind, name, "?", str(error))
        except Exception as error:  # noqa: BLE001 - the user's code: its failure must not pass, nor crash
            return unknown(self.kind, name, "?", f"{self.function} raised {raised(error)}")
        why = malformed(answer)
        if why:
            return unknown(self.kind, name, "?", f"{self.function}: {why}")
        return CheckResult(
            kind=self.kind,
            metric=name,
            verdict=answer["verdict"],
            reason=f"{name}: {answer['reason']}",
            threshold=str(answer.get("threshold", "as the function says")),
            value=float(answer["value"]),
            n=int(answer.get("n", 0)),
            method=f"{self.function}, source {source}",
        )


def malformed(answer: Any) -> str:
    """What is wrong with a function's answer; empty when nothing is."""
    if not isinstance(answer, Mapping):
        return f"gave {type(answer).__name__}, expected a mapping with value, verdict and reason"
    value, n = answer.get("value"), answer.get("n", 0)
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(float(value)):
        return f"value must be a finite number, got {value!r}"
    if not isinstance(answer.get("verdict"), str) or answer["verdict"] not in VERDICTS:
        return f"verdict must be one of {', '.join(VERDICTS)}, got {answer.get('verdict')!r}"
    if not isinstance(answer.get("reason"), str) or not answer["reason"].strip():
        return f"reason must say why in words, got {answer.get('reason')!r}"
    if isinstance(n, bool) or not isinstance(n, int) or n < 0:
        return f"n must be a number of rows, got {n!r}"
    threshold = answer.get("threshold", "")
    if not isinstance(threshold, str | int | float) or (isinstance(threshold, float) and not math.isfinite(threshold)):
        return f"threshold must be a word or a finite number, got {threshold!r}"
    return ""


def read_only(evidence: Evidence) -> Evidence:
    """A copy of the evidence, with arrays that cannot be written: a check must not change what the next one judges, and
    a view leads to what it is a view of."""

    def frozen(rows: RowOutputs | None) -> Any:
        if rows is None:
            return None
        y, output = rows.y.copy(), rows.output.copy()
        y.flags.writeable = output.flags.writeable = False
        columns = {name: list(values) for name, values in rows.columns.items()}
        return dataclasses.replace(rows, ids=list(rows.ids), y=y, output=output, columns=columns)

    return dataclasses.replace(
        evidence,
        candidate=frozen(evidence.candidate),
        champion=frozen(evidence.champion),
        perturbed={name: frozen(rows) for name, rows in evidence.perturbed.items()},
        versions={version: frozen(rows) for version, rows in evidence.versions.items()},
        baselines={
            name: dataclasses.replace(one, outputs=frozen(one.outputs)) for name, one in evidence.baselines.items()
        },
        data_measures=dict(evidence.data_measures),
        latency_ms=dict(evidence.latency_ms),
        cost=dict(evidence.cost),
    )
