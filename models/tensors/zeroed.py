"""Memory that a program asks for and does not write to is zeros: what others left there is in no answer.

Programs ask for it and fill it (`F.gumbel_softmax`, a tensor that is assigned part by part), which changes nothing of
what they answer. The bytes that are stored stay as they are: this is of the program that was read from them.
"""

from __future__ import annotations

import torch

ZEROS = {
    "empty.memory_format": torch.ops.aten.zeros.default,
    "empty_like.default": torch.ops.aten.zeros_like.default,
    "new_empty.default": torch.ops.aten.new_zeros.default,
}
"""Of aten's operators that give uninitialised memory those that a program may call -> what is called in their place."""


def zeroed(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """The same program, changed in place; its branches and loops, too."""
    instead = {f"aten.{name}": zeros for name, zeros in ZEROS.items()}
    for module in program.graph_module.modules():
        if not isinstance(module, torch.fx.GraphModule):
            continue
        found = [node for node in module.graph.nodes if node.op == "call_function" and str(node.target) in instead]
        for node in found:
            node.target = instead[str(node.target)]
            taken = {argument.name for argument in node.target._schema.arguments}
            node.kwargs = {name: value for name, value in node.kwargs.items() if name in taken}
        if found:
            module.recompile()
    return program
