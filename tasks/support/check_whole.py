"""Hold a whole pipeline against its workload, before anything trains: here, or in a child that imports it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.finding import is_ours
from mlratchet.models.functions import kept_out
from mlratchet.models.gates.checks.outside import is_foreign
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.pipeline.checking import check_declared, check_gates, check_source, check_split
from mlratchet.models.pipeline.names import refuse_guesses, text_parameters
from mlratchet.models.pipeline.salvage import LeftSpec
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.ports.children import Workplace, children
from mlratchet.models.training.fitting import check_fits
from mlratchet.models.tuning.space import check_tune
from mlratchet.models.workloads.loading import load_workload
from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")
CHECK, LOOK_S = f"{__name__}:check_in_child", 300.0


@dataclass(frozen=True, kw_only=True)
class Whole:
    """What is to be said of a pipeline that holds."""

    source: str  # where its examples come from, in words
    warnings: list[str]


def check_whole(spec: PipelineSpec) -> Whole:
    """Raises ``ConfigurationError`` for what could never work."""
    if not (kept_out() and is_foreign_in(spec)):
        return check_here(spec)
    told = children().call(CHECK, {"spec": spec.model_dump(mode="json")}, time_limit_s=LOOK_S)
    try:
        return TypeAdapter(Whole).validate_python(told)
    except ValidationError as error:
        raise ConfigurationError(f"{spec.workload.use}: {error.errors()[0]['msg']}") from error


def is_foreign_in(spec: PipelineSpec) -> bool:
    """Whether anything of the user's own has a part in it."""
    named = (spec.source.format or "", spec.train.optimizer.factory or "")
    checks = (is_foreign(check, "") for *_, check in spec.gates.all_checks())
    return not is_ours(spec.workload.use) or any(":" in name for name in named) or any(checks)


def check_here(spec: PipelineSpec) -> Whole:
    """By this process. Each part is looked at, whatever another part says."""
    workload = load_workload(spec.workload.use, dict(spec.workload.parameters))
    problems: list[str] = []

    def said(part: Callable[[], T]) -> T | None:
        try:
            return part()
        except ConfigurationError as error:
            problems.extend(line for line in str(error).splitlines() if line not in problems)
            return None

    said(lambda: refuse_guesses(text_parameters(type(workload), spec.workload.parameters)))
    source = said(lambda: check_source(spec, workload))
    said(lambda: check_declared(spec))
    said(lambda: check_split(spec))
    said(lambda: check_fits(spec.train, workload))
    warnings = said(lambda: check_gates(spec, workload)) or []
    if spec.tune is not None:
        warnings = warnings + (said(lambda: check_tune(spec, workload)) or [])
    if source is None or problems:
        raise ConfigurationError("\n".join(problems))
    return Whole(source=source, warnings=warnings)


def check_in_child(request: Mapping[str, Any], _workplace: Workplace) -> dict[str, Any]:
    """Where users' modules are imported."""
    return asdict(check_here(LeftSpec.model_validate_json(canonical_json(request["spec"]))))
