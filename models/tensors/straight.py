"""A program that is one operation after the other, as one Python function that does nothing else.

torch's own way to ask a program flattens what it is given, fetches each weight by its name, looks each operator up and
goes through its guards, every time: half of a small forward. Here all of that is done once. The same operators are
called with the same tensors in the same order, so the answers have the same bits.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from mlratchet.models.tensors.program_calls import OVER_SIZES
from torch import fx, nn
from torch._ops import OpOverload

GUARDS = "_guards_fn"  # holds sizes against what the program was exported for, and gives nothing
PLAIN = (int, float, bool, str, torch.dtype, torch.device, torch.layout, torch.memory_format)  # that operators take


class NotStraightError(Exception):
    """A program that has to be asked as torch asks it."""


@dataclass(frozen=True, eq=False)
class StraightForward:
    """Asked with the tensors of the program in its order, first those without a name. Nothing is looked at: whoever
    asks knows that the program takes them."""

    run: Callable[..., torch.Tensor]
    names: tuple[str, ...]  # of those with one
    text: str  # of the function, for whoever looks at it

    def __call__(self, *tensors: torch.Tensor, **named: torch.Tensor) -> torch.Tensor:
        return self.run(*tensors, *[named[name] for name in self.names])


def straight_forward(module: nn.Module) -> StraightForward | None:
    """Of a program's module, with its tensors as they are by now; None where it is more than a row of operators."""
    try:
        return _of(module)
    except NotStraightError:
        return None


def _of(module: nn.Module) -> StraightForward:
    graph, given, gives = (getattr(module, name, None) for name in ("graph", "_in_spec", "_out_spec"))
    if not isinstance(graph, fx.Graph) or given is None or gives is None or not gives.is_leaf():
        raise NotStraightError
    unnamed, named = given.child(0), given.child(1)
    if not all(one.is_leaf() for one in (*unnamed.children(), *named.children())):
        raise NotStraightError
    written = _Written(module, {one: node for node in graph.nodes for one in node.all_input_nodes})
    for node in graph.nodes:
        written.take(node)
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    if len(inputs) != unnamed.num_children + named.num_children:
        raise NotStraightError
    text = written.text(len(inputs))
    return StraightForward(written.function(text), tuple(named.context or ()), text)


class _Written:
    """The function's text, whose every name is a letter and a number: no word of the program's own is in it."""

    def __init__(self, module: nn.Module, last_use: Mapping[fx.Node, fx.Node]) -> None:
        self._module, self._last_use = module, last_use
        self._places: dict[fx.Node, str] = {}
        self._known: dict[str, Any] = {}  # what the text names and does not make
        self._lines: list[str] = []
        self._inputs = 0

    def take(self, node: fx.Node) -> None:
        """One line more, or none. Raises ``NotStraightError``."""
        if node.op == "placeholder":
            self._places[node] = f"i{self._inputs}"
            self._inputs += 1
        elif node.op == "get_attr":
            self._places[node] = self._name(_tensor_of(self._module, str(node.target)))
        elif node.op == "call_function":
            asked = [self._value(one) for one in node.args]
            asked += [f"{_parameter(name, node.target)}={self._value(one)}" for name, one in node.kwargs.items()]
            place = self._places[node] = f"v{len(self._places)}"
            self._lines.append(f"{place} = {self._name(_callable_of(node.target))}({', '.join(asked)})")
            self._lines += [f"{self._places[one]} = None" for one in self._done_with(node)]
        elif node.op == "output":
            (given,) = node.args
            if not isinstance(given, tuple | list) or len(given) != 1:
                raise NotStraightError
            self._lines.append(f"return {self._value(given[0])}")
        elif node.op != "call_module" or node.target != GUARDS or node.users:
            raise NotStraightError

    def text(self, inputs: int) -> str:
        """Of so many tensors."""
        known = ["*", *(f"{name}={name}" for name in self._known)] if self._known else []
        names = [*(f"i{at}" for at in range(inputs)), *known]
        return "\n    ".join((f"def forward({', '.join(names)}):", *self._lines))

    def function(self, text: str) -> Callable[..., torch.Tensor]:
        """Of that text."""
        made: dict[str, Any] = dict(self._known)
        exec(text, made)  # noqa: S102 - our own text, see the class
        forward: Callable[..., torch.Tensor] = made["forward"]
        return forward

    def _done_with(self, node: fx.Node) -> list[fx.Node]:
        """What no later node needs: its memory is free from here on, as in torch's own forward."""
        used = [one for one in node.all_input_nodes if one.op in ("placeholder", "call_function")]
        return [one for one in used if self._last_use[one] is node]

    def _name(self, value: Any) -> str:
        name = f"k{len(self._known)}"
        self._known[name] = value
        return name

    def _value(self, value: Any) -> str:
        if isinstance(value, fx.Node):
            if value not in self._places:  # what the guards give
                raise NotStraightError
            return self._places[value]
        if isinstance(value, tuple | list):
            parts = ", ".join(map(self._value, value))
            return f"[{parts}]" if isinstance(value, list) else f"({parts}{',' if value else ''})"
        if value is None:
            return "None"
        if isinstance(value, PLAIN):
            return self._name(value)
        raise NotStraightError


def _tensor_of(module: nn.Module, path: str) -> torch.Tensor:
    found: Any = module
    for part in path.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, torch.Tensor):
        raise NotStraightError
    return found


def _callable_of(target: Any) -> Callable[..., Any]:
    if isinstance(target, OpOverload):
        called: Callable[..., Any] = target._op  # what it calls itself, and nothing more
        return called
    if f"{getattr(target, '__module__', '')}.{getattr(target, '__name__', '')}" not in OVER_SIZES:
        raise NotStraightError
    return target  # type: ignore[no-any-return]  # a function, by its name


def _parameter(name: str, target: Any) -> str:
    taken = {one.name for one in target._schema.arguments} if isinstance(target, OpOverload) else set()
    if name not in taken or keyword.iskeyword(name):
        raise NotStraightError
    return name
