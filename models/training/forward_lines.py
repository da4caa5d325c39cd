"""Where in a model's forward something happens: its operations are watched, each with the user's own line."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch
from mlratchet.models.own_line import is_own, place
from mlratchet.models.tensors.batch import Batch, Model, first_rows
from mlratchet.models.tensors.program_calls import name_of_call, problem_of_call
from torch.overrides import TorchFunctionMode

own = cache(is_own)
FRAME = re.compile(r'File "([^"]+)", line ([0-9]+)')  # of a trace


def caller() -> str:
    """``file.py:12``, the innermost line of the user's that is being executed; empty where there is none."""
    frame = sys._getframe(1)
    while frame is not None:
        if own(frame.f_code.co_filename):
            return place(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back  # type: ignore[assignment]  # None ends the walk
    return ""


class Watch(TorchFunctionMode):
    """Collects (what is kept of the result, line) of each operation."""

    def __init__(self, keep: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.seen: list[tuple[Any, str]] = []
        self._keep = keep

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if isinstance(found, torch.Tensor) and getattr(func, "__name__", "") != "__get__":
            self.seen.append((self._keep(found), caller()))
        return found


def watched(module: Model, x: Batch, keep: Callable[[torch.Tensor], Any] = torch.Tensor.dim) -> list[tuple[Any, str]]:
    """As far as the model gets."""
    watch = Watch(keep)
    with watch, suppress(Exception), torch.no_grad():
        module(x)
    return watch.seen


def line_of_lost_rows(module: Model, x: Batch) -> str:
    """Where the dimension of the rows goes when there is one row alone. `x`: two rows or more."""
    one, several = watched(module, first_rows(x, 1)), watched(module, x)
    for (few, line), (many, _) in zip(one, several, strict=False):
        if few != many:
            return line
    return last_line(module, x)


def line_of_chance(module: Model, x: Batch) -> str:
    """Where the same rows first give something else the second time; empty where nothing of the user's does."""
    first, second = watched(module, x, torch.Tensor.clone), watched(module, x, torch.Tensor.clone)
    for (one, line), (other, _) in zip(first, second, strict=False):
        if line and (one.shape != other.shape or not torch.allclose(one.float(), other.float(), equal_nan=True)):
            return line
    return ""


def last_line(module: Model, x: Batch) -> str:
    """The line of the model's last operation; of the model's class where torch's own layers do everything."""
    lines = [line for _, line in watched(module, x) if line]
    return lines[-1] if lines else ""


def line_of_call(program: torch.export.ExportedProgram) -> str:
    """Where a program first calls what no stored one may; empty where it calls nothing of that, or no line is known."""
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            if node.op == "call_function" and problem_of_call(name_of_call(node.target)):
                line_of = line_of_node(node)
                if line_of:
                    return line_of
    return ""


def line_of_node(node: torch.fx.Node) -> str:
    """Where a call of a program was written; empty where no line of the user's is known."""
    lines = [place(file, int(line)) for file, line in FRAME.findall(node.stack_trace or "") if own(file)]
    return lines[-1] if lines else ""


@contextmanager
def fixed_sizes(found: list[str]) -> Iterator[None]:
    """While a model is exported: `found` gets the lines that turn a size into a plain number or ask for its value."""
    from torch.fx.experimental.sym_node import SymNode

    originals = {name: getattr(SymNode, name) for name in ("guard_int", "guard_bool") if hasattr(SymNode, name)}

    def telling(original: Callable[..., Any]) -> Callable[..., Any]:
        def tell(self: Any, *args: Any) -> Any:
            before = len(self.shape_env.guards)
            answer = original(self, *args)
            if len(self.shape_env.guards) > before:
                found.append(caller())
            return answer

        return tell

    for name, original in originals.items():
        setattr(SymNode, name, telling(original))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(SymNode, name, original)


def class_line(kind: type[Any]) -> str:
    """Where a class begins, or the file alone."""
    import inspect

    with suppress(OSError, TypeError):
        return place(inspect.getsourcefile(kind) or "", inspect.getsourcelines(kind)[1])
    return Path(str(sys.modules[kind.__module__].__file__)).name
