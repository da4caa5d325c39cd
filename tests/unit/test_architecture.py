"""What the import linter cannot see: in fresh processes."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from mlratchet.infra.warm.tree import STAGES

REPOSITORY = Path(__file__).parent.parent.parent
ROOMS = ("flows", "tasks", "infra", "models")


def modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("file", sorted((REPOSITORY / "infra").rglob("__init__.py")), ids=lambda f: f.parent.name)
def test_the_packages_of_infra_import_nothing(file: Path) -> None:
    tree = ast.parse(file.read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


def test_a_rank_loads_neither_prefect_nor_mlflow() -> None:
    loaded = modules_after("import mlratchet.infra.launch.rank")
    assert not {"prefect", "mlflow"} & loaded


def test_the_stage_that_ranks_are_forked_from_loads_neither_prefect_nor_mlflow() -> None:
    loaded = modules_after("\n".join(f"import {name}" for name in STAGES["ranks"]))
    assert not {"prefect", "mlflow"} & loaded


def test_what_the_warm_process_imports_is_there() -> None:
    assert [name for stage in STAGES.values() for name in stage if find_spec(name) is None] == []


def test_no_stage_of_the_warm_process_imports_what_has_to_run_in_its_forks() -> None:
    """What they are asked to become, and what binds a forkserver to its agent."""
    loaded = modules_after("\n".join(f"import {name}" for stage in STAGES.values() for name in stage))
    assert (
        not {
            "mlratchet.infra.launch.agent",
            "mlratchet.infra.launch.bound",
        }
        & loaded
    )


def test_the_domain_loads_no_client() -> None:
    names = [
        ".".join(("mlratchet", *path.relative_to(REPOSITORY).with_suffix("").parts))
        for path in (REPOSITORY / "models").rglob("*.py")
        if path.name != "__init__.py"
    ]
    loaded = modules_after("\n".join(f"import {name}" for name in names))
    assert not {"prefect", "mlflow", "boto3", "botocore", "mlratchet.infra"} & loaded


def test_the_help_loads_nothing_heavy() -> None:
    loaded = modules_after("import mlratchet.flows.cli.app")
    assert not {"torch", "prefect", "mlflow", "boto3", "numpy", "sklearn"} & loaded


def test_who_asks_at_three_in_the_morning_waits_for_no_framework() -> None:
    """`history`, `champion`, `decision`, `versions`, `audit`."""
    loaded = modules_after(
        "import mlratchet.tasks.support.versions, mlratchet.tasks.actions.audit, mlratchet.tasks.wiring"
    )
    assert not {"torch", "prefect", "mlflow", "scipy.stats", "sklearn"} & loaded


def test_the_environment_is_read_in_one_place() -> None:
    readers = []
    for room in ROOMS:
        for path in (REPOSITORY / room).rglob("*.py"):
            text = path.read_text()
            if "os.environ" in text or "getenv" in text:
                readers.append(path.relative_to(REPOSITORY).as_posix())
    # torchrun tells a rank its place through the environment, as a parameter
    assert sorted(readers) == ["infra/launch/rank.py", "infra/settings.py"]


def test_no_pickle_is_read_anywhere() -> None:
    for room in ROOMS:
        for path in (REPOSITORY / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                    "pickle.load",
                    "pickle.loads",
                    "torch.load",
                ):
                    safe = {k.arg: ast.unparse(k.value) for k in node.keywords}.get("weights_only") == "True"
                    assert safe, f"{path}:{node.lineno} unpickles"


def test_modules_and_functions_stay_small() -> None:
    long = []
    for room in ROOMS:
        for path in (REPOSITORY / room).rglob("*.py"):
            lines = path.read_text().splitlines()
            assert len(lines) <= 400, f"{path} has {len(lines)} lines"
            for node in ast.walk(ast.parse("\n".join(lines))):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
                    length = node.end_lineno - node.lineno + 1
                    if length > 75:
                        long.append(f"{path.relative_to(REPOSITORY)}:{node.lineno} {node.name} {length}")
    assert long == []


def test_no_two_public_classes_share_a_name() -> None:
    """A name means one thing in the whole house."""
    places: dict[str, list[str]] = {}
    for room in ROOMS:
        for path in sorted((REPOSITORY / room).rglob("*.py")):
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places.setdefault(node.name, []).append(path.relative_to(REPOSITORY).as_posix())
    assert {name: files for name, files in places.items() if len(files) > 1} == {}
