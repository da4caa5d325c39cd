"""Where the source of a module lies and whose it is, found without importing it.

Finding asks the finders that an import would ask, parents first, but loads nothing: a parent package is found, not run.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib import metadata
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any, Literal, NamedTuple

PRODUCT = "mlratchet"
ROOT = Path(__file__).parents[1]  # the folder that is imported as `mlratchet`
SITE = ("site-packages", "dist-packages")

Whose = Literal["own", "product", "installed", "standard"]


_looked_in: list[str] = []


def look_in(folders: Sequence[str]) -> None:
    """From now on source is looked for in these folders first, as in a child, though nothing is imported from them."""
    _looked_in[:] = folders


class Found(NamedTuple):
    """One module."""

    name: str
    whose: Whose
    origin: str | None  # of its file; None for a namespace package and what is built in
    locations: tuple[str, ...] | None  # where its submodules are; None for what is no package
    loader: Any


class Finder:
    """Finds modules; remembers what it found for one walk."""

    def __init__(self) -> None:
        self._known: dict[str, Found | None] = {}

    def find(self, name: str) -> Found | None:
        """The module, or None where an import would not find it."""
        if name not in self._known:
            self._known[name] = None  # a name that leads back to itself is not found through itself
            self._known[name] = self._find(name)
        return self._known[name]

    def _find(self, name: str) -> Found | None:
        parent_name, _, _ = name.rpartition(".")
        path: Sequence[str] | None = None
        if parent_name:
            parent = self.find(parent_name)
            if parent is None or parent.locations is None:
                return None
            path = parent.locations
        spec = _spec(name, path) or _bare_folder(name, path or ())
        if spec is None:
            return None
        origin = spec.origin if spec.has_location else None
        locations = None if spec.submodule_search_locations is None else tuple(spec.submodule_search_locations)
        return Found(name, _whose(name, origin or next(iter(locations or ()), None)), origin, locations, spec.loader)


def is_ours(name: str) -> bool:
    """Whether a module, or `module:name`, is Ratchet's. What it is called does not say so: any folder `mlratchet` on
    the import path joins the namespace. Where it lies does."""
    module = name.partition(":")[0]
    found = Finder().find(module) if module.startswith(f"{PRODUCT}.") else None
    return found is not None and found.whose == "product"


def _whose(name: str, place: str | None) -> Whose:
    if name == PRODUCT and (place is None or Path(place).name == PRODUCT):
        return "product"  # a namespace: what lies in a part of it may still be another's
    if name.startswith(f"{PRODUCT}.") and place is not None and Path(place).is_relative_to(ROOT):
        return "product"
    if place is None:
        return "standard"  # built in or frozen
    if site_of(place) is not None:
        return "installed"
    return "standard" if _is_standard(place) else "own"


def _spec(name: str, path: Sequence[str] | None) -> ModuleSpec | None:
    if path is None and name in sys.builtin_module_names:
        return ModuleSpec(name, None, origin="built-in")
    finders: Sequence[Any] = [PathFinder] if path is None and name in sys.stdlib_module_names else sys.meta_path
    for finder in finders:
        if not hasattr(finder, "find_spec"):
            continue
        # a finder that some package installed may raise anything for a name that it does not know
        with suppress(Exception):
            top = [*_looked_in, *sys.path] if path is None and finder is PathFinder and _looked_in else path
            spec = finder.find_spec(name, top)
            if spec is not None:
                found: ModuleSpec = spec
                return found
    loaded = sys.modules.get(name)  # imported in a way of its own, as test runners do
    return getattr(loaded, "__spec__", None)


def _bare_folder(name: str, path: Sequence[str]) -> ModuleSpec | None:
    """A folder without `__init__.py` in a package. An import finds it too, but `PathFinder` only below what is loaded,
    and whose code is the same must not hang on what was imported before."""
    folders = [str(place) for one in path if (place := Path(one) / name.rpartition(".")[2]).is_dir()]
    if not folders:
        return None
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = folders
    return spec


@cache
def _standard_roots() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    return tuple({Path(paths[name]).resolve() for name in ("stdlib", "platstdlib")})


def _is_standard(place: str) -> bool:
    path = Path(place).resolve()
    return any(path.is_relative_to(root) for root in _standard_roots())


def site_of(place: str) -> Path | None:
    """The folder of installed packages that a path lies in, or None."""
    path = Path(place)
    return next((parent for parent in (path, *path.parents) if parent.name in SITE), None)


@cache
def distribution_of(place: str, top: str) -> tuple[str, str] | None:
    """(name, version) of the installed distribution that brought a file; None where no record names it."""
    site = site_of(place)
    if site is None:
        return None
    line = f"{Path(place).relative_to(site).as_posix()},"
    with suppress(metadata.PackageNotFoundError):
        likely = metadata.distribution(top)
        if _records(likely, line):
            return _named(likely)
    for other in metadata.distributions(path=[str(site)]):
        if _records(other, line):
            return _named(other)
    for name in _tops().get(top, ()):  # a distribution without a list of its files
        return _named(metadata.distribution(name))
    return None


def _records(distribution: metadata.Distribution, line: str) -> bool:
    text = distribution.read_text("RECORD") or ""
    return text.startswith(line) or f"\n{line}" in text


def _named(distribution: metadata.Distribution) -> tuple[str, str]:
    return str(distribution.metadata["Name"]).lower().replace("_", "-"), str(distribution.version)


@cache
def _tops() -> dict[str, list[str]]:
    return dict(metadata.packages_distributions())
