"""What a child is asked about gates: what a user's check is, whether a policy can hold, and one verdict.

Called through `models/ports/children`; here users' modules are imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.gates.checks.base import Check
from mlratchet.models.gates.checks.outside import AbsentCheck, loaded_check
from mlratchet.models.gates.policy import GatePolicy
from mlratchet.models.gates.validation import validate_here
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.ports.children import Workplace
from mlratchet.models.sources.record import InputSpec
from pydantic import TypeAdapter, ValidationError

_INPUT = TypeAdapter(InputSpec)


def describe(request: Mapping[str, Any], _workplace: Workplace) -> dict[str, Any]:
    """Of a check as it is declared: its fields and facts; or why it is absent or refused."""
    declared = request["declared"]
    try:
        check = loaded_check(declared)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return {"refused": f"{place}: {first['msg']}" if place else first["msg"]}
    except ValueError as error:
        return {"refused": str(error)}
    if isinstance(check, AbsentCheck):
        return {"absent": check._why}
    return {"dumped": check.model_dump(mode="json"), "facts": facts_of(check)}


def facts_of(check: Check) -> dict[str, Any]:
    """As JSON values. Raises what its class raises."""
    needs = check.needs()
    return {
        "gates": list(check.gates),
        "wears": check.wears,
        "paired": check.paired,
        "holds_level": check.holds_level,
        "subject": check.subject,
        "compares": check.compares,
        "allowed_loss": check.allowed_loss,
        "metric_names": list(check.metric_names),
        "user_code": list(check.user_code),
        "perturbations": [one.model_dump(mode="json") for one in needs.perturbations],
        "versions": list(needs.versions),
        "columns": list(needs.columns),
        "slices": [[metric, list(columns), function] for metric, columns, function in needs.slices],
        "attributions": needs.attributions,
        "baselines": needs.baselines,
    }


def validate(request: Mapping[str, Any], _workplace: Workplace) -> dict[str, Any]:
    """Warnings about a policy, or its problems."""
    spec = request["input_spec"]
    try:
        return {
            "warnings": validate_here(
                GatePolicy.model_validate_json(canonical_json(request["policy"])),
                request["task"],
                tuple(request["class_names"]),
                columns=request["columns"],
                input_spec=_INPUT.validate_python(spec) if spec is not None else None,
            )
        }
    except ConfigurationError as error:
        return {"problems": str(error)}
