"""What of its own a program overwrites when it is asked: a buffer that it changes is in the answers of the next ones.

Followed through the graph: an operator's schema says which arguments it writes to, and of which what it gives
is a view.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.export.graph_signature import InputKind
from torch.fx import GraphModule, Node

OWN = (InputKind.BUFFER, InputKind.PARAMETER, InputKind.CONSTANT_TENSOR)
# What schemas do not say: operators that write to running statistics where this argument is true, and those that give
# what they were given where they do nothing
STATISTICS = {
    "batch_norm": "training", "native_batch_norm": "training", "_batch_norm_impl_index": "training",
    "instance_norm": "use_input_stats",
}  # fmt: skip
RUNNING = ("running_mean", "running_var")
PASSED_ON = ("dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout")


def overwritten(program: torch.export.ExportedProgram, *, inputs: bool = False) -> Iterator[tuple[str, Node]]:
    """(name, who writes) of every parameter, buffer and constant that the program writes to, and of every input with
    `inputs`. What a branch or a loop of it is given counts under the name that it has there."""
    kinds = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
    for module in program.graph_module.modules():
        if not isinstance(module, GraphModule):
            continue
        for node in module.graph.nodes:
            for written in _written_by(node):
                for origin in _origins(written):
                    spec = kinds.get(origin.name) if module is program.graph_module else None
                    own = spec is None or spec.kind in OWN
                    if own or inputs:
                        yield (spec.target if spec is not None and spec.target else origin.name), node


def _arguments(node: Node) -> Iterator[tuple[Any, Any]]:
    """(what the schema says of an argument, what it is given), of a call of an operator."""
    schema = getattr(node.target, "_schema", None)
    for place, argument in enumerate(schema.arguments if schema is not None else ()):
        yield argument, node.args[place] if place < len(node.args) else node.kwargs.get(argument.name)


def _nodes(given: Any) -> Iterator[Node]:
    if isinstance(given, Node):
        yield given
    elif isinstance(given, list | tuple):
        for one in given:
            yield from _nodes(one)


def _called(node: Node) -> str:
    """Of aten's: its name without its overload."""
    return str(node.target).removeprefix("aten.").partition(".")[0]


def _written_by(node: Node) -> Iterator[Node]:
    condition = STATISTICS.get(_called(node))
    statistics = condition is not None and any(one.name == condition and given for one, given in _arguments(node))
    for argument, given in _arguments(node):
        declared = argument.alias_info is not None and argument.alias_info.is_write
        if declared or (statistics and argument.name in RUNNING):
            yield from _nodes(given)


def _origins(node: Node) -> list[Node]:
    """The graph's own inputs whose memory this may be."""
    found, seen, left = [], {node}, [node]
    while left:
        one = left.pop()
        if one.op == "placeholder":
            found.append(one)
            continue
        aliased = [given for argument, given in _arguments(one) if argument.alias_info is not None]
        if _called(one) in PASSED_ON or getattr(one.target, "__name__", "") == "getitem":
            aliased.append(one.args[0])
        for before in (before for given in aliased for before in _nodes(given)):
            if before not in seen:
                seen.add(before)
                left.append(before)
    return found
