"""A model in a child: a program, or the user's module with trained weights, is loaded and asked where no key is.

Shape legend: N rows.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.ports.children import ForeignCodeError, Rights, Workplace, children
from mlratchet.models.ports.memory import ObjectsInMemory
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.tensors.sharded import blocks_of
from safetensors import SafetensorError
from safetensors.numpy import load, save

Array = np.ndarray[Any, Any]
LENT = Rights(read=("in/",), create=("out/",))
HOURS_6 = 6 * 3600.0
OUTPUTS = "mlratchet.models.evaluation.in_child:outputs"


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelAway:
    """How a child loads a model, for one that is asked there alone."""

    load: str
    """A function of ours, `package.module:function`: called with `arguments` and the child's workplace, it gives the
    model, on the CPU and in eval mode."""
    arguments: Mapping[str, Any]
    reads: tuple[Path, ...] = ()
    """Folders and files that it is loaded from."""
    objects: Mapping[str, bytes] = field(default_factory=dict)
    """By name, what it is loaded from beside them: weights."""

    def recipe(self) -> dict[str, Any]:
        """For the child."""
        return {"load": self.load, "arguments": dict(self.arguments)}

    def outputs(self, x: Inputs, *, batch_rows: int) -> Array:
        """Of every row (N, ...), in order; those that are not in memory are sent in blocks. Raises ``ForeignCodeError``
        for what is none."""
        blocks = blocks_of(x)
        if len(blocks) > 1:
            return np.concatenate([self._outputs(x.rows(block), batch_rows) for block in blocks])
        return self._outputs(x, batch_rows)

    def _outputs(self, x: Inputs, batch_rows: int) -> Array:
        answer = ask_away(OUTPUTS, {"models": {"it": self}}, x.arrays(), {"batch_rows": batch_rows})
        output = answer.get("output")
        if output is None or len(output) != len(x) or output.dtype != np.float32:
            raise ForeignCodeError(f"the model gave no float32 output for each of {len(x)} rows")
        return output


def ask_away(
    function: str,
    named: Mapping[str, Mapping[str, ModelAway]],
    arrays: Mapping[str, Array],
    request: Mapping[str, Any],
    *,
    scratch: Path | None = None,
    time_limit_s: float = HOURS_6,
) -> dict[str, Array]:
    """Call a function of ours with models and arrays; the arrays that it gives.

    `named`: what the request calls the models. Raises ``ForeignCodeError`` for an answer that is none.
    """
    lent = ObjectsInMemory("arrays")
    models = [one for of in named.values() for one in of.values()]
    for name, data in {key: value for one in models for key, value in one.objects.items()}.items():
        lent.put(f"in/{name}", data)
    lent.put("in/arrays", save({name: np.ascontiguousarray(one) for name, one in arrays.items()}))
    recipes = {name: {key: one.recipe() for key, one in of.items()} for name, of in named.items()}
    told = children().call(
        function,
        {**request, **recipes},
        scratch=scratch,
        store=lent,
        rights=LENT,
        reads=tuple(dict.fromkeys(path for one in models for path in one.reads)),
        time_limit_s=time_limit_s,
    )
    try:
        return load(lent.get(f"out/{told}"))
    except (SafetensorError, ConfigurationError, ValueError, TypeError) as error:
        raise ForeignCodeError(f"{function}: its answer holds no arrays: {error}") from error


def model_of(recipe: Mapping[str, Any], workplace: Workplace) -> Callable[..., Any]:
    """In the child."""
    module, _, name = str(recipe["load"]).partition(":")
    loaded: Callable[..., Any] = getattr(importlib.import_module(module), name)(recipe["arguments"], workplace)
    return loaded


def arrays_in(workplace: Workplace) -> dict[str, Array]:
    """In the child: what was sent."""
    return load(workplace.objects.get("in/arrays"))


def arrays_out(workplace: Workplace, arrays: Mapping[str, Array]) -> str:
    """In the child: hand back."""
    data = save({name: np.ascontiguousarray(one) for name, one in arrays.items()})
    workplace.objects.create(f"out/{digest_bytes(data)}", data)
    return digest_bytes(data)
