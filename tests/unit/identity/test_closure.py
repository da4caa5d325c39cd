"""The import closure: what a user's code is made of, and what does not count."""

from __future__ import annotations

import ast
import gc
import importlib
import sys
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.identity import called_imports
from mlratchet.models.identity.closure import Closure, closure_of
from mlratchet.models.identity.declared import declared_files
from mlratchet.models.identity.normal_form import read_source

Project = Callable[..., Path]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Writes files below a folder that stands first on the import path."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(**files: str) -> Path:
        for name, text in files.items():
            path = (
                tmp_path / f"{name.replace('__', '/')}.py"
                if not name.endswith("init")
                else (tmp_path / name.removesuffix("_init").replace("__", "/") / "__init__.py")
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        importlib.invalidate_caches()
        return tmp_path

    return write


def closure(*modules: str) -> Closure:
    return closure_of(modules or ("mine",))


@pytest.mark.parametrize(
    ("statement", "brought"),
    [
        ("import net", {"net"}),
        ("from net import build", {"net"}),
        ("import pack.deep.layers", {"pack", "pack.deep", "pack.deep.layers"}),
        ("from pack.deep import layers", {"pack", "pack.deep", "pack.deep.layers"}),
        ("from pack import deep as d, nothing", {"pack", "pack.deep"}),
        ("from star import *", {"star", "star.one"}),
        ("def late():\n    import net", {"net"}),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import net", {"net"}),
        ("try:\n    import net\nexcept ImportError:\n    import not_there", {"net"}),
        ("import spaces.inner", {"spaces.inner"}),
        ("import importlib\nnet = importlib.import_module('net')", {"net"}),
        ("from importlib import import_module as load\ndeep = load(name='pack.deep')", {"pack", "pack.deep"}),
        ("net = __import__('net')", {"net"}),
        ("import runpy\nrunpy.run_module('net')", {"net"}),
    ],
)
def test_what_is_imported_counts_however_it_is_written(project: Project, statement: str, brought: set[str]) -> None:
    project(
        mine=statement, net="x = 1", pack_init="", pack__deep_init="", pack__deep__layers="y = 2",
        star_init="__all__ = ['one', 'text']", star__one="", star__two="", spaces__inner="",
    )  # fmt: skip
    assert set(closure().modules) == {"mine"} | brought


@pytest.mark.parametrize(
    "written",
    [
        "__all__: list[str] = ['one']",
        "__all__ = []\n__all__ += ['one']",
        "__all__ = ['two'] + ['one']",
        "__all__ = []\n__all__.append('one')",
        "if True:\n    __all__ = ('one',)",
    ],
)
def test_a_star_brings_the_submodules_however_all_is_written(project: Project, written: str) -> None:
    project(mine="from star import *", star_init=written, star__one="")
    assert "star.one" in closure().modules


@pytest.mark.parametrize(
    ("statement", "brought"),
    [
        ("from . import sibling", {"pack.sibling"}),
        ("from .sibling import thing", {"pack.sibling"}),
        ("from .deep.layers import thing", {"pack.deep", "pack.deep.layers"}),
        ("from ..above import thing", set()),  # out of the package: such an import fails
        ("import importlib\nimportlib.import_module('.sibling', __package__)", {"pack.sibling"}),
        ("import importlib\nimportlib.import_module('..sibling', package='pack.deep')", {"pack.sibling"}),
    ],
)
def test_relative_imports_are_followed(project: Project, statement: str, brought: set[str]) -> None:
    project(pack_init="", pack__mine=statement, pack__sibling="", pack__deep_init="", pack__deep__layers="", above="")
    assert set(closure("pack.mine").modules) == {"pack", "pack.mine"} | brought


LAZY = """
import importlib

PARTS = {"Net": ".net", "Loss": "losses:Loss", "sum": "json", "x": "not there"}

def __getattr__(name):
    return getattr(importlib.import_module(PARTS[name].partition(":")[0], __name__), name)
"""


def test_what_a_computed_name_may_mean_counts_where_the_file_writes_it(project: Project) -> None:
    """A package that loads its parts when they are asked for."""
    project(mine="from lazy import Net", lazy_init=LAZY, lazy__net="", lazy__other="", losses="", not_named="")
    assert set(closure().modules) == {"mine", "lazy", "lazy.net", "losses"}


@pytest.mark.parametrize(
    ("root", "asked", "package"),
    [
        ("mine", "f'nets.{kind}'", "nets"),
        ("mine", "'nets.' + kind + 's'", "nets"),
        ("nets.mine", "f'.{kind}', 'nets'", "nets"),
        ("pack.mine", "f'.nets.{kind}', __package__", "pack.nets"),
    ],
)
def test_all_modules_of_a_package_count_where_a_name_is_computed_within_it(
    project: Project, root: str, asked: str, package: str
) -> None:
    place = package.replace(".", "__")
    project(
        **{f"{place}_init": "", f"{place}__cnn": "import helper", f"{place}__mlp": "", "pack_init": "", "helper": ""},
        **{root.replace(".", "__"): f"import importlib\nload = lambda kind: importlib.import_module({asked})"},
    )  # fmt: skip
    found = set(closure(root).modules)
    assert found - {"pack"} == {root, package, f"{package}.cnn", f"{package}.mlp", "helper"}


@pytest.mark.parametrize(
    "statement",
    [
        "import nets.bare.one", "from nets.bare import one", "from nets.bare.one import x",
        "import importlib\nload = lambda kind: importlib.import_module(f'nets.{kind}')",
    ],
)  # fmt: skip
def test_a_folder_without_an_init_is_followed_below_a_package_that_nobody_imported(
    project: Project, statement: str
) -> None:
    project(mine=statement, nets_init="", nets__bare__one="x = 1")
    assert set(closure().modules) == {"mine", "nets", "nets.bare.one"}


def test_modules_of_packages_within_the_package_count_too(project: Project) -> None:
    project(
        mine="import importlib\nload = lambda kind: importlib.import_module(f'nets.{kind}')",
        nets_init="", nets__sub_init="", nets__sub__deep="y = 1", nets__sub__more_init="", nets__sub__more__deeper="",
    ).joinpath("nets", "sub", "loop").symlink_to("..")  # fmt: skip
    found = {"mine", "nets", "nets.sub", "nets.sub.deep", "nets.sub.more", "nets.sub.more.deeper", "nets.sub.loop"}
    assert set(closure().modules) == found


def test_what_calls_are_called_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the time that a long file takes goes with its square."""
    looked: list[object] = []
    names = called_imports._names
    monkeypatch.setattr(called_imports, "_names", lambda tree: looked.append(tree) or names(tree))
    data = b"from importlib import import_module as load\n" + b"f(1)\n" * 20 + b"load('net')\n"
    (found,) = called_imports.called_imports(ast.parse(data), data)
    assert (found.module, len(looked)) == ("net", 1)


def test_a_text_that_happens_to_be_a_name_counts_only_where_names_are_computed(project: Project) -> None:
    project(mine="import importlib\nimportlib.import_module('net')\nkind = 'pack'", net="", pack_init="")
    assert set(closure().modules) == {"mine", "net"}


def test_what_its_modules_import_counts_too_and_circles_end(project: Project) -> None:
    project(mine="import a", a="import b", b="import a\nimport c", c="import mine", other="import mine")
    assert set(closure().modules) == {"mine", "a", "b", "c"}


BODY = 'def net(n):\n    return [n, 1.0, "x", None]\n'


@pytest.mark.parametrize(
    "written",
    [
        "# a comment\n" + BODY,
        '"""A module."""\n\n' + BODY,
        'def net(\n    n,\n):\n    """What it does."""\n    return [\n        n, 1.0,\n        \'x\', None]  # why\n',
        "def net(n): return ([n, 1.00, u'x', None])\n",
    ],
)
def test_comments_docstrings_and_formatting_do_not_count(project: Project, written: str) -> None:
    project(mine="import net", net=BODY)
    before = closure().digest()
    project(net=written)
    assert closure().digest() == before


@pytest.mark.parametrize(
    "edited",
    [
        BODY.replace("1.0", "1"),
        BODY.replace("None", "True"),
        BODY.replace("n, 1", "-n, 1"),
        BODY.replace("None", "'None'"),
        BODY.replace("[n, ", "[*n, "),
        BODY.replace("def", "async def"),
        BODY + "net(3)\n",
    ],
)
def test_what_the_code_does_counts(project: Project, edited: str) -> None:
    project(mine="import net", net=BODY)
    before = closure()
    project(net=edited)
    assert closure().modules["net"] != before.modules["net"]
    assert closure().modules["mine"] == before.modules["mine"]


@pytest.mark.parametrize(
    "reads", ["print(__doc__)\n", "print(build.__doc__)\n", "import inspect\nprint(inspect.getdoc(build))\n"]
)
def test_docstrings_count_where_the_code_reads_them(project: Project, reads: str) -> None:
    project(mine=f"def build():\n    'low high'\n{reads}")
    before = closure().digest()
    project(mine=f"def build():\n    'low high new'\n{reads}")
    assert closure().digest() != before


def test_the_place_on_the_disk_does_not_count(project: Project, tmp_path: Path) -> None:
    project(mine="import net", net=BODY)
    here = closure()
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("mine.py", "net.py"):
        (tmp_path / name).rename(moved / name)
    sys.path.insert(0, str(moved))
    importlib.invalidate_caches()
    try:
        assert closure() == here
    finally:
        sys.path.remove(str(moved))


def test_installed_packages_count_by_name_and_version_and_the_standard_library_not_at_all(project: Project) -> None:
    project(mine="import json, os.path\nimport torch.nn.functional\nfrom PIL import Image\nfrom numpy import array")
    found = closure()
    assert set(found.modules) == {"mine"}
    assert set(found.packages) == {"torch", "pillow", "numpy"}
    assert found.packages["torch"] == importlib.import_module("torch").__version__


def test_a_file_of_the_users_named_like_a_library_is_the_users(project: Project) -> None:
    project(mine="import statistics, yaml", statistics="mean = sum", yaml="load = str")
    found = closure()
    assert set(found.modules) == {"mine", "statistics", "yaml"}
    assert found.packages == {}


def test_a_package_of_another_folder_on_the_path_is_followed_as_an_editable_install_is(
    project: Project, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("src")
    (elsewhere / "library").mkdir()
    (elsewhere / "library" / "__init__.py").write_text("from library import parts")
    (elsewhere / "library" / "parts.py").write_text("")
    monkeypatch.syspath_prepend(str(elsewhere))
    project(mine="import library")
    assert set(closure().modules) == {"mine", "library", "library.parts"}


def test_a_finder_of_its_own_brings_the_users_files_and_a_broken_one_brings_nothing(
    project: Project, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As setuptools installs an editable project: with a finder on `sys.meta_path`."""
    file = tmp_path_factory.mktemp("editable") / "hidden.py"
    file.write_text("x = 1")

    class Editable:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> object:
            return importlib.util.spec_from_file_location(name, file) if name == "hidden" else None

    class Broken:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> object:
            raise RuntimeError(name)

    monkeypatch.setattr(sys, "meta_path", [Broken, *sys.meta_path, Editable])
    project(mine="import hidden, nowhere")
    assert set(closure().modules) == {"mine", "hidden"}


def test_modules_of_an_archive_are_read(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "code.zip"
    with zipfile.ZipFile(archive, "w") as written:
        written.writestr("packed.py", "import net\n")
    monkeypatch.syspath_prepend(str(archive))
    project(mine="import packed", net=BODY)
    found = closure()
    assert set(found.modules) == {"mine", "packed", "net"}
    assert found.modules["packed"] == read_source(b"import net").digest


def test_a_file_that_does_not_parse_counts_byte_by_byte(project: Project) -> None:
    project(mine="import broken", broken="def (:\n")
    before = closure().modules["broken"]
    project(broken="def (:  # comment\n")
    assert closure().modules["broken"] != before


def test_nothing_is_imported_to_find_it(project: Project) -> None:
    project(mine="import pack.inner", pack_init="raise SystemExit(1)", pack__inner="raise SystemExit(2)")
    assert set(closure().modules) == {"mine", "pack", "pack.inner"}
    assert not {"mine", "pack"} & set(sys.modules)


def test_a_module_that_is_not_there_is_said_so(project: Project) -> None:
    project()
    assert closure("nowhere.at_all").modules == {"nowhere.at_all": "not found"}


def test_ratchets_own_modules_are_followed_only_where_asked(project: Project) -> None:
    project(mine="from mlratchet.models.workloads.tabular import TableClassifier")
    assert closure().product == {}
    followed = closure_of(["mine"], follow=["mlratchet.models.workloads.tabular", "mlratchet.models.workloads.vision"])
    assert set(followed.product) == {"mlratchet.models.workloads.tabular"}


def test_declared_files_count_by_their_bytes(project: Project) -> None:
    folder = project(mine="")
    (folder / "vocab.json").write_text("[]")
    before = declared_files("mine", ("vocab.json",), "workload mine:Mine")
    (folder / "vocab.json").write_text("[1]")
    after = declared_files("mine", ("vocab.json",), "workload mine:Mine")
    assert set(before) == set(after) == {"mine/vocab.json"}
    assert closure_of(["mine"], files=before).digest() != closure_of(["mine"], files=after).digest()


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("vocab.jsn",), r"no file .*vocab\.jsn: No such file"),
        ("vocab.json", "must be a tuple of names"),
        (("/etc/hosts",), "is absolute; name it relative to the module"),
        ((".",), "is a folder; name its files"),
    ],
)
def test_files_that_cannot_count_are_refused(project: Project, names: object, says: str) -> None:
    project(mine="")
    with pytest.raises(ConfigurationError, match=f"workload mine:Mine: files.*{says}"):
        declared_files("mine", names, "workload mine:Mine")


def test_a_closure_of_fifty_files_is_known_again_in_milliseconds(project: Project) -> None:
    source = "\n".join(f"def f{i}(x):\n    return x + {i}\n" for i in range(60))
    project(mine="\n".join(f"import m{i}" for i in range(50)), **{f"m{i}": source for i in range(50)})
    assert len(closure().modules) == 51
    took_s = []
    for _ in range(5):  # the least: whatever else the machine does makes it longer
        began_s = time.process_time()
        closure()
        took_s.append(time.process_time() - began_s)
    assert min(took_s) < 0.1  # measured 0.01; parsing all of them takes 0.15


def test_threads_that_read_sources_beside_a_collectors_callback_disturb_nobody() -> None:
    """As an audit does that judges side by side, where something watches the garbage collector."""
    files = [path.read_bytes() for path in sorted((Path(__file__).parents[3] / "models" / "gates").glob("*.py"))]
    once = [read_source(data) for data in files]
    watcher = lambda *_: [number for number in range(3)]  # noqa: C416, E731 - Python code: threads may take turns
    before, threshold = sys.getswitchinterval(), gc.get_threshold()
    gc.callbacks.append(watcher)
    sys.setswitchinterval(1e-6)
    gc.set_threshold(5)
    try:
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: [read_source(data) for data in files], range(4)))
    finally:
        gc.callbacks.remove(watcher)
        sys.setswitchinterval(before)
        gc.set_threshold(*threshold)
    assert found == [once] * 4
