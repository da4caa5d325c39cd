"""Imports that are calls: `importlib.import_module("net")`, `__import__("net")`, `runpy.run_module("net")`.

A name that is written out is one. Of a computed name what the file writes is taken: each text in it that may be a
module's name, and of a prefix (`f"nets.{kind}"`, `".parts." + kind`) all modules of that package. Which of them are
there, and whose they are, the walk finds out.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib.util import resolve_name
from typing import NamedTuple

CALLS = ("import_module", "__import__", "run_module")
_MARKS = tuple(name.encode() for name in CALLS)
_NAME = re.compile(r"(\.*)((?:[^\W\d]\w*)(?:\.[^\W\d]\w*)*)(?::\w+)?")  # `:` as in package.module:Class


class CalledImport(NamedTuple):
    """One module that a call may import."""

    module: str
    level: int  # leading dots
    sure: bool  # written out as what is imported; else it counts only where it is a module of the user's own
    all_of_it: bool  # a prefix: every module of that package


def called_imports(tree: ast.Module, data: bytes) -> tuple[CalledImport, ...]:
    """Of a parsed file, each once; `data` are its bytes. Nearly every file has none, which its bytes say at once."""
    if not any(mark in data for mark in _MARKS):
        return ()
    names = _names(tree)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _name_of(node.func) in names]
    found: list[CalledImport] = []
    computed = False
    for call in calls:
        asked = _asked(call)
        if isinstance(asked, ast.Constant):
            found += _written_out(asked.value, call)
            continue
        computed = True
        prefix = _prefix(asked)
        found += [one._replace(all_of_it=True) for one in _modules(prefix.rstrip("."), sure=False)]
        if prefix and not prefix.strip("."):
            found.append(CalledImport("", len(prefix), False, True))
    if computed:
        texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
        found += [one for text in texts if isinstance(text, str) for one in _modules(text, sure=False)]
    return tuple(dict.fromkeys(found))


def _names(tree: ast.Module) -> set[str]:
    """What the calls are called here: `from importlib import import_module as load`."""
    statements = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    aliases = (alias for statement in statements for alias in statement.names if alias.name in CALLS)
    return {*CALLS, *(alias.asname for alias in aliases if alias.asname)}


def _name_of(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _asked(call: ast.Call) -> ast.expr | None:
    named = {one.arg: one.value for one in call.keywords}
    return call.args[0] if call.args else named.get("name", named.get("mod_name"))


def _written_out(text: object, call: ast.Call) -> Iterator[CalledImport]:
    """Relative to the package that the call names, if it is written out too, else to that of the file."""
    packages = [*call.args[1:2], *(one.value for one in call.keywords if one.arg == "package")]
    package = packages[0].value if packages and isinstance(packages[0], ast.Constant) else None
    if isinstance(text, str) and text.startswith(".") and isinstance(package, str):
        try:
            text = resolve_name(text, package)
        except ImportError:  # out of the package: such a call fails
            return
    if isinstance(text, str):
        yield from _modules(text, sure=True)


def _prefix(asked: ast.expr | None) -> str:
    """The constant text that a computed name begins with, as far as its last dot; empty without one."""
    while isinstance(asked, ast.BinOp):
        asked = asked.left
    first = asked.values[0] if isinstance(asked, ast.JoinedStr) and asked.values else asked
    text = first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""
    return text[: text.rfind(".") + 1]


def _modules(text: str, *, sure: bool) -> Iterator[CalledImport]:
    found = _NAME.fullmatch(text)
    if found is not None:
        yield CalledImport(found[2], len(found[1]), sure, False)
