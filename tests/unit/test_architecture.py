"""What the import linter cannot see: in fresh processes."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import pytest
from mlratchet.infra.warm.tree import STAGES

REPOSITORY = Path(__file__).parent.parent.parent
ROOMS = ("flows", "tasks", "infra", "models")


def modules_after(*parts: Iterable[str]) -> list[set[str]]:
    """What a fresh process has loaded after it imported the modules of the first part, of the first two, and so on."""
    code = (
        "import importlib, json, sys\n"
        "for part in json.loads(sys.argv[1]):\n"
        "    for name in part: importlib.import_module(name)\n"
        "    print(json.dumps(sorted(sys.modules)))"
    )
    wanted = json.dumps([list(part) for part in parts])
    done = subprocess.run([sys.executable, "-c", code, wanted], capture_output=True, text=True, check=True)
    return [set(json.loads(line)) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    """After the domain, then a rank besides, then the stage that ranks are forked from, then every stage."""
    domain = [
        ".".join(("mlratchet", *path.relative_to(REPOSITORY).with_suffix("").parts))
        for path in (REPOSITORY / "models").rglob("*.py")
        if path.name != "__init__.py"
    ]
    every = [name for stage in STAGES.values() for name in stage]
    found = modules_after(domain, ["mlratchet.infra.launch.rank"], STAGES["ranks"], every)
    return dict(zip(("domain", "rank", "stage of ranks", "stages"), found, strict=True))


@pytest.mark.parametrize("file", sorted((REPOSITORY / "infra").rglob("__init__.py")), ids=lambda f: f.parent.name)
def test_the_packages_of_infra_import_nothing(file: Path) -> None:
    tree = ast.parse(file.read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


@pytest.mark.slow
def test_a_rank_loads_neither_prefect_nor_mlflow(loaded: dict[str, set[str]]) -> None:
    assert "mlratchet.infra.launch.rank" in loaded["rank"]
    assert not {"prefect", "mlflow"} & loaded["rank"]


@pytest.mark.slow
def test_the_stage_that_ranks_are_forked_from_loads_neither_prefect_nor_mlflow(loaded: dict[str, set[str]]) -> None:
    assert set(STAGES["ranks"]) <= loaded["stage of ranks"]
    assert not {"prefect", "mlflow"} & loaded["stage of ranks"]


def test_what_the_warm_process_imports_is_there() -> None:
    assert [name for stage in STAGES.values() for name in stage if find_spec(name) is None] == []


@pytest.mark.slow
def test_no_stage_of_the_warm_process_imports_what_has_to_run_in_its_forks(loaded: dict[str, set[str]]) -> None:
    """What they are asked to become, and what binds a forkserver to its agent."""
    assert {"prefect", "mlflow"} <= loaded["stages"]
    assert not {"mlratchet.infra.launch.agent", "mlratchet.infra.launch.bound"} & loaded["stages"]


@pytest.mark.slow
def test_the_domain_loads_no_client(loaded: dict[str, set[str]]) -> None:
    assert "mlratchet.models.gates.judge" in loaded["domain"]
    assert not {"prefect", "mlflow", "boto3", "botocore", "mlratchet.infra"} & loaded["domain"]


def test_the_help_loads_nothing_heavy() -> None:
    (loaded,) = modules_after(["mlratchet.flows.cli.app"])
    assert not {"torch", "prefect", "mlflow", "boto3", "numpy", "pyarrow", "sklearn"} & loaded


def test_who_asks_at_three_in_the_morning_waits_for_no_framework() -> None:
    """`history`, `champion`, `decision`, `versions`, `audit`."""
    (loaded,) = modules_after(
        ["mlratchet.tasks.support.versions", "mlratchet.tasks.actions.audit", "mlratchet.tasks.wiring"]
    )
    frameworks = {"torch", "prefect", "mlflow", "pyarrow", "PIL", "scipy.special", "scipy.optimize", "sklearn"}
    assert not {name for name in loaded if any(name == one or name.startswith(f"{one}.") for one in frameworks)}


def test_no_field_of_a_document_has_its_docstring_parsed_at_import() -> None:
    """Pydantic would read and parse the source of every class for it: a fifth of the start of a command that reads."""
    from mlratchet.models.config import StrictModel

    assert not StrictModel.model_config.get("use_attribute_docstrings")


def test_the_environment_is_read_in_one_place() -> None:
    readers = []
    for room in ROOMS:
        for path in (REPOSITORY / room).rglob("*.py"):
            text = path.read_text()
            if "os.environ" in text or "getenv" in text:
                readers.append(path.relative_to(REPOSITORY).as_posix())
    # torchrun tells a rank its place through the environment, as a parameter
    assert sorted(readers) == ["infra/launch/rank.py", "infra/settings.py"]


@pytest.fixture(scope="module")
def parsed() -> dict[str, ast.Module]:
    """Every module of the house, by its path."""
    paths = [path for room in ROOMS for path in sorted((REPOSITORY / room).rglob("*.py"))]
    return {path.relative_to(REPOSITORY).as_posix(): ast.parse(path.read_text()) for path in paths}


def test_no_pickle_is_read_anywhere(parsed: dict[str, ast.Module]) -> None:
    for path, tree in parsed.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("pickle.load", "pickle.loads", "torch.load"):
                safe = {k.arg: ast.unparse(k.value) for k in node.keywords}.get("weights_only") == "True"
                assert safe, f"{path}:{node.lineno} unpickles"


def test_modules_and_functions_stay_small(parsed: dict[str, ast.Module]) -> None:
    long = []
    for path, tree in parsed.items():
        lines = len((REPOSITORY / path).read_text().splitlines())
        assert lines <= 400, f"{path} has {lines} lines"
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
                length = node.end_lineno - node.lineno + 1
                if length > 75:
                    long.append(f"{path}:{node.lineno} {node.name} {length}")
    assert long == []


def test_no_two_public_classes_share_a_name(parsed: dict[str, ast.Module]) -> None:
    """A name means one thing in the whole house."""
    places: dict[str, list[str]] = {}
    for path, tree in parsed.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(path)
    assert {name: files for name, files in places.items() if len(files) > 1} == {}
