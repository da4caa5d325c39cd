"""Everything an optimizer keeps, for a checkpoint: tensors by name, and the rest as JSON, both to the last bit.

Nothing is unpickled, so what can be neither is refused, with the place where it stands.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.training.packing import NAMES

Tensors = dict[str, torch.Tensor]
NO_TENSOR = (type(None), bool, int, float, str)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    """The tensors of its state and of its parameter groups, by where they stand. Not copied."""
    return _taken(optimizer)[0]


def optimizer_document(optimizer: torch.optim.Optimizer) -> Any:
    """The rest of its state, JSON. Raises ``ConfigurationError`` for what no checkpoint can hold."""
    return _taken(optimizer)[1]


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors, document: Any) -> None:
    """The reverse of the two."""
    saved = _built(document, tensors)
    optimizer.load_state_dict(saved)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for number, state in saved["state"].items():
        if isinstance(number, int) and number < len(parameters) and isinstance(state, dict):
            _cast_back(optimizer.state[parameters[number]], state)


def _cast_back(here: dict[str, Any], saved: dict[str, Any]) -> None:
    """torch casts the tensors of a state to the type of its parameter."""
    for name, value in saved.items():
        mine = here.get(name)
        if isinstance(value, torch.Tensor) and isinstance(mine, torch.Tensor) and mine.dtype != value.dtype:
            here[name] = value.to(mine.device)


def _taken(optimizer: torch.optim.Optimizer) -> tuple[Tensors, Any]:
    tensors: Tensors = {}
    return tensors, _flat(optimizer.state_dict(), "", tensors)


def _flat(value: Any, path: str, tensors: Tensors) -> Any:
    """JSON that says which kind each value is; its tensors go into `tensors`."""
    if isinstance(value, torch.Tensor) and value.layout == torch.strided and value.dtype in NAMES:
        tensors[path] = value.detach()
        return {"tensor": path}
    if isinstance(value, np.generic | np.ndarray) and value.dtype.kind in "biuf":
        tensors[path] = torch.from_numpy(np.array(value))
        return {"array" if isinstance(value, np.ndarray) else "number": path}
    if isinstance(value, torch.Generator):
        tensors[path] = value.get_state()
        return {"generator": path}
    if isinstance(value, float) and type(value) is float:
        return {"float": value.hex()}  # also infinity and NaN, which canonical JSON has not
    if type(value) in NO_TENSOR:
        return {"plain": value}
    if type(value) in (list, tuple):
        return {type(value).__name__: [_flat(one, f"{path}.{at}", tensors) for at, one in enumerate(value)]}
    if isinstance(value, dict):
        pairs = [
            [_flat(key, path, tensors), _flat(one, f"{path}.{key}" if path else str(key), tensors)]
            for key, one in value.items()
        ]
        return {"dict": pairs}
    raise ConfigurationError(
        f"train.optimizer: {path or 'its state'} is a {type(value).__name__}, which a checkpoint cannot hold: a killed "
        "training would go on otherwise than it was; keep tensors, numbers and text in param_groups and state"
    )


def _built(document: Any, tensors: Tensors) -> Any:
    ((kind, value),) = document.items()
    match kind:
        case "plain":
            return value
        case "float":
            return float.fromhex(value)
        case "tensor":
            return tensors[value]
        case "array":
            return tensors[value].numpy().copy()
        case "number":
            return tensors[value].numpy()[()]
        case "generator":
            generator = torch.Generator()
            generator.set_state(tensors[value].cpu())
            return generator
        case "list" | "tuple":
            items = [_built(one, tensors) for one in value]
            return items if kind == "list" else tuple(items)
        case _:
            return {_built(key, tensors): _built(one, tensors) for key, one in value}
