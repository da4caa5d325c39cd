"""The files that a user's class or function declares: `files = ("vocab.json",)`, which its code opens by itself.

They are found in the source, as its imports are, and nothing is loaded: a class says them in its body, a function after
it, as its attribute (`judge.files = ("limits.json",)`). Those of the bases of a class count too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.finding import Finder, Found
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.identity.module_source import absolute, bytes_of
from mlratchet.models.identity.normal_form import Import, parse

NAME = "files"
EXAMPLE = 'files must be a tuple of names, e.g. ("vocab.json",)'


def declared_files(module: str, names: Any, where: str) -> dict[str, str]:
    """`module/name` -> SHA-256 hex of files named relative to the folder of a module.

    Raises ``ConfigurationError`` naming a file that is not there, and for what is no tuple of relative names.
    """
    if not isinstance(names, tuple | list) or not all(isinstance(name, str) for name in names):
        raise ConfigurationError(f"{where}: {EXAMPLE}, got {names!r}")
    found = Finder().find(module)
    digests: dict[str, str] = {}
    for name in names:
        path = Path(name)
        if path.is_absolute():
            raise ConfigurationError(f"{where}: files: {name!r} is absolute; name it relative to the module")
        if found is None or found.origin is None:
            raise ConfigurationError(f"{where}: files: module {module} has no file that {name!r} could lie beside")
        path = Path(found.origin).parent / path
        if path.is_dir():
            raise ConfigurationError(f"{where}: files: {path} is a folder; name its files")
        try:
            digests[f"{module}/{name}"] = digest_bytes(path.read_bytes())
        except OSError as exc:
            why = exc.strerror or str(exc)
            raise ConfigurationError(f"{where}: files: no file {path}: {why}; add it, or do not declare it") from exc
    return digests


def declared_by(reference: str, where: str) -> dict[str, str]:
    """`module/name` -> SHA-256 hex of what the class or function `package.module:name` declares; it is not loaded.

    Raises ``ConfigurationError`` as `declared_files`, and for names that the source does not write out. `where` names
    the place in the pipeline file.
    """
    module, _, name = reference.partition(":")
    reading = _Reading(where)
    reading.look_at(module, name)
    return dict(sorted(reading.digests.items()))


class _Reading:
    """Follows a name to where it is defined, and a class to its bases; each once, so that circles end."""

    def __init__(self, where: str) -> None:
        self.digests: dict[str, str] = {}
        self._where = where
        self._finder = Finder()
        self._met: set[tuple[str, str]] = set()

    def look_at(self, module: str, name: str) -> None:
        """What `name` of a module declares. Nothing of Ratchet's or of Python's own does."""
        found = self._finder.find(module)
        if (module, name) in self._met or found is None or found.origin is None:
            return
        self._met.add((module, name))
        if found.whose in ("product", "standard"):
            return
        try:
            body = parse(bytes_of(found)).body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return  # it counts byte by byte, and cannot be loaded
        for statement in _outermost(body):
            self._read(statement, name, found, body)

    def _read(self, statement: ast.stmt, name: str, found: Found, body: list[ast.stmt]) -> None:
        if isinstance(statement, ast.ClassDef) and statement.name == name:
            for inside in _outermost(statement.body):
                for target, value in _assigned(inside):
                    if isinstance(target, ast.Name) and target.id == NAME:
                        self._declare(value, found, body)
            for base in statement.bases:
                self._follow(base.value if isinstance(base, ast.Subscript) else base, found, body)
        elif isinstance(statement, ast.ImportFrom):
            origin = absolute(Import(statement.module or "", (), statement.level), found)
            for alias in statement.names:
                if origin is not None and name in (alias.asname or alias.name, *([name] * (alias.name == "*"))):
                    self.look_at(origin, name if alias.name == "*" else alias.name)
        for target, value in _assigned(statement):
            if isinstance(target, ast.Name) and target.id == name:
                self._follow(value, found, body)
            elif isinstance(target, ast.Attribute) and target.attr == NAME and ast.unparse(target.value) == name:
                self._declare(value, found, body)

    def _follow(self, value: ast.expr, found: Found, body: list[ast.stmt]) -> None:
        """Another name of the module, or one of a module that it imports: `nets.base.Base`."""
        if isinstance(value, ast.Name):
            self.look_at(found.name, value.id)
            return
        path = _dotted(value)
        if path is None:
            return
        module, _, name = path.rpartition(".")
        first, _, rest = module.partition(".")
        for known in _imported_as(first, _outermost(body), found):
            self.look_at(f"{known}.{rest}" if rest else known, name)

    def _declare(self, value: ast.expr, found: Found, body: list[ast.stmt]) -> None:
        try:
            names = _written_out(value, body)
        except ValueError as error:
            raise ConfigurationError(
                f"{self._where}: {found.name}: {EXAMPLE}, written out, got {error}: code is read for it and not run"
            ) from error
        self.digests |= declared_files(found.name, names, self._where)


def _outermost(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run when the body does: also those below `if`, `try` and `with`."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try | ast.With):
            inner = [*getattr(statement, "body", ()), *getattr(statement, "orelse", ())]
            inner += [one for handler in getattr(statement, "handlers", ()) for one in handler.body]
            yield from _outermost([*inner, *getattr(statement, "finalbody", ())])


def _assigned(statement: ast.stmt) -> list[tuple[ast.expr, ast.expr]]:
    """(target, value) of an assignment."""
    if isinstance(statement, ast.Assign):
        return [(target, statement.value) for target in statement.targets]
    if isinstance(statement, ast.AnnAssign) and statement.value is not None:
        return [(statement.target, statement.value)]
    return []


def _written_out(value: ast.expr, body: list[ast.stmt]) -> Any:
    """The value of a literal, or of a name that the module gives one. Raises ``ValueError`` with what it is else."""
    if isinstance(value, ast.Name):
        given = [one for statement in _outermost(body) for target, one in _assigned(statement)
                 if isinstance(target, ast.Name) and target.id == value.id]  # fmt: skip
        if len(given) == 1 and not isinstance(given[0], ast.Name):
            value = given[0]
    try:
        return ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(ast.unparse(value)[:100]) from error


def _dotted(value: ast.expr) -> str | None:
    if isinstance(value, ast.Name):
        return value.id
    before = _dotted(value.value) if isinstance(value, ast.Attribute) else None
    return f"{before}.{value.attr}" if before is not None and isinstance(value, ast.Attribute) else None


def _imported_as(name: str, statements: Iterator[ast.stmt], found: Found) -> Iterator[str]:
    """Full names of the modules that are called `name` here."""
    for statement in statements:
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                if alias.asname == name or (alias.asname is None and alias.name.partition(".")[0] == name):
                    yield alias.name if alias.asname else name
        elif isinstance(statement, ast.ImportFrom):
            origin = absolute(Import(statement.module or "", (), statement.level), found)
            yield from (f"{origin}.{alias.name}" for alias in statement.names
                        if origin is not None and (alias.asname or alias.name) == name)  # fmt: skip
