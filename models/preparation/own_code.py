"""The source of a user's own preparations, kept with what they were fitted to: a version is prepared by the code that
it was fitted with, whatever is installed or edited later. It is run in children alone."""

from __future__ import annotations

import importlib
import linecache
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from mlratchet.models.errors import ConfigurationError, DataError
from mlratchet.models.finding import Finder
from mlratchet.models.functions import KeptOutError, kept_out, load_class
from mlratchet.models.identity.canonical import digest
from mlratchet.models.identity.closure import Closure, closure_of
from mlratchet.models.preparation.base import Preparation
from pydantic import BaseModel, ConfigDict, ValidationError

MOST_BYTES = 4 << 20  # of all modules together


class KeptModule(BaseModel):
    """One module of the closure."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    package: bool
    digest: str
    """Of its normal form: comments and layout do not count."""


class KeptCode(BaseModel):
    """The closure of the classes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    modules: dict[str, KeptModule]
    packages: dict[str, str]
    """Installed distribution -> version."""


def kept_code(references: Iterable[str]) -> dict[str, Any]:
    """JSON values: of what these classes (`package.module:Class`) are made as they are installed now. Nothing is
    imported. Raises ``ConfigurationError`` where that is more than 4 MiB, or no text."""
    closure = closure_of({reference.partition(":")[0] for reference in references})
    finder, modules = Finder(), {}
    for name, its in closure.modules.items():
        found = finder.find(name)
        if found is None or found.origin is None:
            raise ConfigurationError(f"preparation: module {name} has no source that could be kept; add it")
        try:
            source = Path(found.origin).read_bytes().decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"preparation: the source of {name} cannot be kept: {error}") from error
        modules[name] = KeptModule(source=source, package=found.locations is not None, digest=its)
    size = sum(len(one.source) for one in modules.values())
    if size > MOST_BYTES:
        raise ConfigurationError(
            f"preparation: {len(modules)} modules with {size:,} characters are kept with every version, at most "
            f"{MOST_BYTES:,}; import less in the module of the class"
        )
    return KeptCode(modules=modules, packages=dict(closure.packages)).model_dump(mode="json")


def read_code(document: Any) -> KeptCode:
    """Raises ``DataError`` for what `kept_code` did not give: it never holds a module of Ratchet's or of Python's."""
    try:
        code = KeptCode.model_validate(document)
    except ValidationError as error:
        raise DataError(f"state of a preparation: its code cannot be read: {error.errors()[0]['msg']}") from error
    foreign = [name for name in code.modules if name.partition(".")[0] in {"mlratchet", *sys.stdlib_module_names}]
    if foreign:
        raise DataError(f"state of a preparation: {foreign[0]!r} is no module of a user's; it was changed")
    return code


def kept_class(reference: str, document: Any) -> type[Preparation]:
    """The class as it was when the code was kept: from what is installed where that is the same, else from what was
    kept. Raises ``ConfigurationError`` for a class that is not there, ``KeptOutError`` where no user's code may run."""
    code = read_code(document)
    mark = digest(code.model_dump(mode="json"))
    if not _kept.keys().isdisjoint(code.modules) or not _installed(code):
        _bring(code, mark)
    return load_class(reference, Preparation, "preparation")  # type: ignore[type-abstract]  # which, is the question


def _installed(code: KeptCode) -> bool:
    here: Closure = closure_of(code.modules)
    return dict(here.modules) == {name: one.digest for name, one in code.modules.items()}


_kept: dict[str, str] = {}  # name of a module that this process has of a version, not of what is installed -> its mark


def _bring(code: KeptCode, mark: str) -> None:
    """From now on these names are the modules that were kept."""
    if kept_out():  # a finder of theirs would answer later imports of ours, too
        raise KeptOutError(
            "preparation: the code of a version is not brought where a process may hold a key; call it in a child"
        )
    if all(_kept.get(name) == mark for name in code.modules):
        return
    for name in [*_kept, *code.modules]:
        sys.modules.pop(name, None)
    _kept.clear()
    sys.meta_path[:] = [one for one in sys.meta_path if not isinstance(one, _KeptFinder)]
    sys.meta_path.insert(0, _KeptFinder(code))
    _kept.update(dict.fromkeys(code.modules, mark))
    importlib.invalidate_caches()


class _KeptFinder(MetaPathFinder):
    """Gives the modules of one version, and packages on the way to them that have no file."""

    def __init__(self, code: KeptCode) -> None:
        self._modules = code.modules
        parents = {name.rpartition(".")[0] for name in code.modules}
        self._ways = {way for name in parents for way in _ways(name)} - set(code.modules)

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 - names alone decide
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """See the base."""
        if fullname in self._modules:
            one = self._modules[fullname]
            return ModuleSpec(fullname, _KeptLoader(fullname, one.source), is_package=one.package)
        return ModuleSpec(fullname, _KeptLoader(fullname, ""), is_package=True) if fullname in self._ways else None


class _KeptLoader(Loader):
    def __init__(self, name: str, source: str) -> None:
        self._file, self._source = f"{name.replace('.', '/')}.py", source

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:  # noqa: ARG002
        """The usual one."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Run it."""
        lines = self._source.splitlines(keepends=True)
        linecache.cache[self._file] = (len(self._source), None, lines, self._file)  # a traceback shows them
        code: CodeType = compile(self._source, self._file, "exec")
        exec(code, module.__dict__)  # noqa: S102 - a user's module, in a child: what an import does


def _ways(name: str) -> list[str]:
    parts = name.split(".") if name else []
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def packages_of(document: Any) -> Mapping[str, str]:
    """Installed distributions that kept code imports -> version of then."""
    return read_code(document).packages
