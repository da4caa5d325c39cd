"""The import closure of a user's class or function: every module of the user's own that it is made of.

Its own is what lies in the user's tree: found on the import path, an editable install included, and neither installed,
nor of the standard library, nor Ratchet's. Imports are read from the source, wherever they stand (in functions and
under TYPE_CHECKING too), and so are calls that import (`importlib.import_module("net")`); nothing is imported. A name
that comes from elsewhere at run time cannot be seen: declare such a file (`declared.py`). An installed package
counts by name and version.
"""

from __future__ import annotations

import ast
import os
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from mlratchet.models.finding import Finder, Found, distribution_of
from mlratchet.models.identity.called_imports import CalledImport
from mlratchet.models.identity.canonical import digest
from mlratchet.models.identity.declared import declared_by
from mlratchet.models.identity.module_source import absolute, bytes_of
from mlratchet.models.identity.normal_form import Import, Source, parse, read_file, read_source

NOT_FOUND = "not found"
NO_FILES: Mapping[str, str] = {}


@dataclass(frozen=True, kw_only=True)
class Closure:
    """What a class or function is made of. Names only, never a path: the same code on another machine is the same."""

    modules: Mapping[str, str] = field(default_factory=dict)  # of the user's own -> digest of the normal form
    product: Mapping[str, str] = field(default_factory=dict)  # of Ratchet, where followed -> digest
    packages: Mapping[str, str] = field(default_factory=dict)  # installed distribution -> version
    files: Mapping[str, str] = field(default_factory=dict)  # declared, `module/file` -> SHA-256 hex

    def parts(self) -> dict[str, dict[str, str]]:
        """As JSON values."""
        return {
            "modules": dict(self.modules),
            "product": dict(self.product),
            "packages": dict(self.packages),
            "files": dict(self.files),
        }

    def digest(self) -> str:
        """SHA-256 hex of all of it."""
        return digest(self.parts())


def closure_of(modules: Iterable[str], *, follow: Iterable[str] = (), files: Mapping[str, str] = NO_FILES) -> Closure:
    """The closure of some modules, by name.

    Args:
        modules: Where the walk begins: of the class and its bases, or of the function.
        follow: Ratchet's own modules that are part of it where they are reached; the others are left to the lists of
            `models/identity/product.py`.
        files: What was declared beside them (`declared.py`).
    """
    walk = _Walk(modules, frozenset(follow))
    return Closure(
        modules=dict(sorted(walk.own.items())),
        product=dict(sorted(walk.product.items())),
        packages=dict(sorted(walk.packages.items())),
        files=dict(sorted(files.items())),
    )


def source_of(*references: str, follow: Iterable[str] = ()) -> Closure:
    """The closure of classes and functions (`package.module:name`) with the files that they declare; none is loaded.
    `follow` as for `closure_of`.

    Raises ``ConfigurationError`` for a declared file that is not there.
    """
    files: dict[str, str] = {}
    for reference in references:
        files |= declared_by(reference, reference)
    return closure_of([one.partition(":")[0] for one in references], follow=follow, files=files)


class _Walk:
    """Breadth first over import statements; each module once, so that circles end."""

    def __init__(self, roots: Iterable[str], follow: frozenset[str]) -> None:
        self.own: dict[str, str] = {}
        self.product: dict[str, str] = {}
        self.packages: dict[str, str] = {}
        self._finder = Finder()
        self._follow = follow
        self._waiting: list[str] = []
        self._met: set[str] = set()
        for root in roots:
            if self._finder.find(root) is None:
                self.own[root] = NOT_FOUND
            self._meet(root)
        while self._waiting:
            self._read(self._waiting.pop())

    def _meet(self, name: str) -> None:
        """The module and the packages on the way to it, which an import runs too. Not below an installed package, which
        counts as one."""
        parts = name.split(".")
        for count in range(1, len(parts) + 1):
            ancestor = ".".join(parts[:count])
            if ancestor not in self._met:
                self._met.add(ancestor)
                self._waiting.append(ancestor)
            if self._counts_whole(ancestor):
                return

    def _counts_whole(self, name: str) -> bool:
        found = self._finder.find(name)
        return found is None or (found.whose in ("installed", "standard") and found.origin is not None)

    def _read(self, name: str) -> None:
        found = self._finder.find(name)
        if found is None or found.origin is None or found.whose == "standard":
            return
        if found.whose == "product":
            if name in self._follow:
                self.product[name] = self._follow_imports(found)
            return
        if found.whose == "installed":
            known = distribution_of(found.origin, name.partition(".")[0])
            if known is not None:
                self.packages[known[0]] = known[1]
                return
        self.own[name] = self._follow_imports(found)

    def _follow_imports(self, found: Found) -> str:
        source = _source_of(found)
        for one in source.imports:
            for name in self._named(one, found):
                self._meet(name)
        for called in source.called:
            for name in self._called(called, found):
                self._meet(name)
        return source.digest

    def _named(self, one: Import, found: Found) -> Iterator[str]:
        """The modules that a statement may load: what it names, and each name that is a submodule of it."""
        base = absolute(one, found)
        if base is None:
            return
        yield base
        if self._counts_whole(base.partition(".")[0]):
            return
        for name in one.names:
            for submodule in self._exported(base) if name == "*" else (name,):
                if self._finder.find(f"{base}.{submodule}") is not None:
                    yield f"{base}.{submodule}"

    def _called(self, one: CalledImport, found: Found) -> Iterator[str]:
        """The modules that a call may load. Of a name that is not sure to be one, the user's own."""
        name = absolute(Import(one.module, (), one.level), found)
        there = self._finder.find(name) if name else None
        if name is None or there is None or not (one.sure or there.whose == "own"):
            return
        yield name
        if one.all_of_it:
            yield from self._all_below(there, ())

    def _all_below(self, package: Found, above: tuple[Path, ...]) -> Iterator[str]:
        """Every module of a package of the user's own and of the packages in it; a link that leads back up ends."""
        places = tuple(Path(location).resolve() for location in package.locations or ())
        if any(place in above for place in places):
            return
        for child in sorted({name for place in package.locations or () for name in _children(place)}):
            name = f"{package.name}.{child}"
            yield name
            found = self._finder.find(name)
            if found is not None and found.whose == "own":
                yield from self._all_below(found, (*above, *places))

    def _exported(self, name: str) -> tuple[str, ...]:
        """`__all__` of a package of the user's own: `from package import *` loads the submodules that it lists."""
        found = self._finder.find(name)
        if found is None or found.whose != "own" or found.locations is None or found.origin is None:
            return ()
        return _all_of(bytes_of(found))


def _children(location: str) -> set[str]:
    """Names of the modules and packages in a folder or an archive. A folder needs no `__init__.py` to be a package."""
    names = {module.name for module in pkgutil.iter_modules([location])}
    with suppress(OSError), os.scandir(location) as entries:
        names |= {one.name for one in entries if one.name.isidentifier() and one.name != "__pycache__" and one.is_dir()}
    return names


def _source_of(found: Found) -> Source:
    assert found.origin is not None
    try:
        return read_file(Path(found.origin))
    except OSError:
        return read_source(bytes_of(found))


def _all_of(data: bytes) -> tuple[str, ...]:
    """The texts in every statement about `__all__`: assigned, annotated, added or appended, wherever it stands."""
    try:
        tree = parse(data)
    except (SyntaxError, ValueError, RecursionError):
        return ()
    simple = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Expr)
    found: dict[str, None] = {}
    for statement in (node for node in ast.walk(tree) if isinstance(node, simple)):
        inside = list(ast.walk(statement))
        if any(isinstance(node, ast.Name) and node.id == "__all__" for node in inside):
            found |= {n.value: None for n in inside if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    return tuple(found)
