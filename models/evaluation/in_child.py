"""What a child is asked about models: their outputs, and where these come from.

Called through `models/ports/children`; here users' modules are imported and programs are loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from mlratchet.models.evaluation.away import arrays_in, arrays_out, model_of
from mlratchet.models.evaluation.explain import explain
from mlratchet.models.evaluation.perturb import CustomPerturbation, perturbed_by
from mlratchet.models.evaluation.score import outputs_of
from mlratchet.models.objectives.naming import objective_of
from mlratchet.models.ports.children import Workplace
from mlratchet.models.sources.record import InputSpec
from mlratchet.models.tensors.batch import Model, asked_by_name
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.workloads.loading import load_workload
from pydantic import TypeAdapter
from safetensors.torch import load

_INPUT = TypeAdapter(InputSpec)


def outputs(request: Mapping[str, Any], workplace: Workplace) -> str:
    """Of one model on all rows."""
    model = model_of(request["models"]["it"], workplace)
    rows = Inputs.from_arrays(arrays_in(workplace))
    return arrays_out(workplace, {"output": outputs_of(model, rows, request["batch_rows"])})


def trained_module(arguments: Mapping[str, Any], workplace: Workplace) -> Model:
    """The user's module with the weights that were sent along, as a batch is asked of it."""
    workload = load_workload(arguments["use"], dict(arguments["parameters"]))
    module = workload.prepared_model()
    module.load_state_dict(load(workplace.objects.get(f"in/{arguments['weights']}")))
    return asked_by_name(module.eval(), workload.tensors())


def attributions(request: Mapping[str, Any], workplace: Workplace) -> str:
    """Of every model on the same rows: signed values, by name."""
    arrays = arrays_in(workplace)
    models = {
        name: narrowed(model_of(recipe, workplace), request["places"].get(name, []))
        for name, recipe in request["models"].items()
    }
    found = explain(
        models,
        {name: inputs_among(arrays, name) for name in models},
        arrays["y"],
        objective=objective_of(request["task"]),
        input_spec=_INPUT.validate_python(request["input_spec"]),
        steps=request["steps"],
    )
    told = {f"values.{name}": one.values for name, one in found.items()}
    told |= {f"completeness.{name}": np.asarray([one.completeness]) for name, one in found.items()}
    method = next(iter(found.values())).method
    return arrays_out(workplace, {**told, "method": np.frombuffer(method.encode(), dtype=np.uint8)})


def inputs_sent(inputs: Mapping[str, Inputs]) -> dict[str, np.ndarray[Any, Any]]:
    """The rows as each of several models takes them, as arrays; `inputs_among` makes them inputs again."""
    return {f"{name}:{part}": array for name, one in inputs.items() for part, array in one.arrays().items()}


def inputs_among(arrays: Mapping[str, np.ndarray[Any, Any]], name: str) -> Inputs:
    """Those of one model."""
    begin = f"{name}:"
    return Inputs.from_arrays({part.removeprefix(begin): one for part, one in arrays.items() if part.startswith(begin)})


def narrowed(model: Model, places: list[int]) -> Model:
    """The model with these outputs alone, in this order; as it is where outputs have no names."""
    return (lambda x: model(x)[:, places]) if places else model


def perturbed(request: Mapping[str, Any], workplace: Workplace) -> str:
    """Rows as a function of the user's changes them."""
    spec = CustomPerturbation.model_validate(request["perturbation"])
    return arrays_out(workplace, perturbed_by(Inputs.from_arrays(arrays_in(workplace)), spec))
