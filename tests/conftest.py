"""Shared by every test: stores in memory, the digits pipeline, and one real stack for the whole session.

Who hands tests to workers imports this too, and nothing else: what takes long to import is imported where it is used.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import hypothesis
import numpy as np
import pytest
from mlratchet.infra.machine.free_ports import GRPC_OFFSET, known_ports
from mlratchet.infra.machine.processes import STACK_MARK, marked_processes
from mlratchet.infra.settings import Settings, apply_environment, load_settings
from mlratchet.infra.stack.control import ServiceStatus, status
from mlratchet.infra.stack.leftovers import SOCKETS
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models import fault_points
from mlratchet.models.ports.children import install
from xdist.scheduler import LoadScopeScheduling

from tests import left_out

if TYPE_CHECKING:
    from mlratchet.models.metrics.rows import RowOutputs
    from mlratchet.models.pipeline.spec import PipelineSpec
    from mlratchet.models.workloads.base import Workload
    from mlratchet.tasks.wiring import Adapters
    from prefect.client.orchestration import SyncPrefectClient

REPOSITORY = Path(__file__).parent.parent

# a loaded machine is slow, not wrong: no example fails for the time that it takes. Examples are drawn by the number
# that `make test` names, also where the variable CI is set, so that what passed here passes there
hypothesis.settings.register_profile("ratchet", deadline=None, derandomize=False)
hypothesis.settings.load_profile("ratchet")

# There are more workers than cores: a second thread of a forward would wait at barriers for a core that others have,
# which takes a sixth more CPU and, on a loaded machine, twice the time. Children inherit it.
os.environ["OMP_NUM_THREADS"] = "1"


ANEW = {"up", "down"}  # the warm process, and with it a fork of it, does not outlive these
CHAINS = {  # part of a test's id -> the chain of tests that it belongs to; the longest part decides
    "tests/contract/": "road",
    "tests/e2e/": "road",
    "tests/e2e/test_stack.py": "ranks",
    "tests/faults/": "ranks",
    "tests/distributed/": "ranks",
    "tests/e2e/test_identity.py": "own servers",
    "tests/e2e/test_own_model.py": "own servers",
    "tests/e2e/test_own_objective.py": "own servers",
    "tests/e2e/test_own_preparation.py": "own servers",
    "tests/e2e/test_schema_changes.py": "own servers",
    "tests/e2e/test_tune.py": "own servers",
    "tests/e2e/test_schedule.py": "own servers",
    "tests/distributed/test_nodes.py": "own servers",
    "tests/e2e/test_stack.py::test_a_killed_supervisor": "own servers",
}

LONGEST = {  # files without a server that would keep whoever is through waiting, were they the last
    "tests/unit/monitoring/test_following.py",
    "tests/unit/scoring/test_batch.py",
    "tests/unit/serving/test_connections.py",
    "tests/unit/training/test_loop.py",
    "tests/unit/training/test_rehearsal.py",
    "tests/unit/warm/test_warm.py",
    "tests/unit/workloads/test_fields.py",
}


def chain_of(nodeid: str) -> str | None:
    """Whose tests one worker runs one after the other; None for what needs no server."""
    parts = [part for part in CHAINS if nodeid.startswith(part)]
    return CHAINS[max(parts, key=len)] if parts else None


class ByStack(LoadScopeScheduling):  # type: ignore[misc]  # xdist publishes no types
    """Three chains share a stack each: the road, ranks and faults, and what brings servers of its own beside one more.
    Each goes to a worker, and they take as long as one another (docs/tests.md). The rest goes, file by file, to the
    fourth and to whoever is free."""

    def _split_scope(self, nodeid: str) -> str:
        return chain_of(nodeid) or nodeid.split("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByStack:
    """Called by xdist."""
    config.option.loadscopereorder = False  # by number of tests; what takes longest comes first (below)
    return ByStack(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The chains first, and among them the longest; then the longest files; else the order stays."""
    order = [*dict.fromkeys(CHAINS.values()), None]
    items.sort(key=lambda item: (order.index(chain_of(item.nodeid)), item.nodeid.split("::")[0] not in LONGEST))


def pytest_configure(config: pytest.Config) -> None:
    """What `make check` leaves out is said at its end. Ctrl-C means the same in the background, where a shell has what
    it starts ignore it."""
    left_out.register(config)
    sys.dont_write_bytecode = False  # many images forbid it, and each worker would rewrite the assertions of every file
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """What was imported stays: the collector need not walk over it in every test. What a test writes and imports is
    kept where the environment says so: a file edited within a second looks unchanged to who keeps."""
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    gc.freeze()


def pytest_runtest_setup() -> None:
    """What a test or a fixture draws from torch does not depend on which test came before; for `random` and numpy,
    pytest-randomly sees to that."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


pytest_runtest_call = pytest_runtest_setup


@pytest.fixture(autouse=True)
def no_fault_is_left_armed() -> Iterator[None]:
    """A fault point that a test armed and did not pass must not fail another test."""
    yield
    fault_points.disarm()
    install(None)  # of adapters that a test opened


@pytest.fixture
def store() -> MemoryStore:
    """The store bucket."""
    return MemoryStore("store")


@pytest.fixture
def raw() -> MemoryStore:
    """The raw bucket."""
    return MemoryStore("raw")


@pytest.fixture(scope="session")
def digits_file() -> Path:
    """The pipeline that ships."""
    return REPOSITORY / "deployments" / "pipelines" / "digits.yaml"


@pytest.fixture(scope="session")
def digits_spec(digits_file: Path) -> PipelineSpec:
    """Parsed."""
    from mlratchet.models.pipeline.loading import read_pipeline

    return read_pipeline(digits_file)


@pytest.fixture(scope="session")
def digits_workload(digits_spec: PipelineSpec) -> Workload:
    """Its workload."""
    from mlratchet.models.workloads.loading import load_workload

    return load_workload(digits_spec.workload.use, dict(digits_spec.workload.parameters))


@pytest.fixture
def ingest(
    raw: MemoryStore, store: MemoryStore, digits_spec: PipelineSpec, digits_workload: Workload
) -> Callable[[dict[str, bytes]], Any]:
    """Files below `digits/` -> (records, rejects)."""
    from mlratchet.models.data.preprocess import read_dataset_records
    from mlratchet.models.data.snapshot import take_snapshot

    def read(files: dict[str, bytes]) -> Any:
        for name, data in files.items():
            raw.put(f"digits/{name}", data)
        snapshot = take_snapshot(raw, store, prefix="digits/")
        records, rejects = read_dataset_records(store, snapshot, digits_workload, digits_spec.source)
        return list(records), rejects

    return read


@pytest.fixture(scope="session")
def classified() -> Callable[..., RowOutputs]:
    """Per-row outputs of a classifier that is right on a given share of rows."""
    from mlratchet.models.metrics.rows import RowOutputs

    def make(n: int = 400, accuracy: float = 0.9, classes: int = 3, seed: int = 0, ids: str = "r") -> RowOutputs:
        rng = np.random.default_rng(seed)
        y = np.arange(n) % classes
        output = rng.normal(0, 0.1, (n, classes)).astype(np.float32)
        wrong = np.zeros(n, dtype=bool)
        wrong[rng.choice(n, round(n * (1 - accuracy)), replace=False)] = True
        output[np.arange(n), np.where(wrong, (y + 1) % classes, y)] += 3.0
        return RowOutputs(ids=[f"{ids}{i}" for i in range(n)], y=y.astype(np.int64), output=output)

    return make


def wait_for(what: str, condition: Callable[[], Any], timeout_s: float = 300.0) -> Any:
    """The first true value of `condition`."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"waited {timeout_s:.0f} s in vain for {what}")


class Stack:
    """An embedded stack and a project folder of its own; commands run in it as a user would run them."""

    tried: ClassVar[Path]  # a file for each command that ran in an interpreter of its own, in any worker of the session

    def __init__(self, folder: Path) -> None:
        self.home, self.project = folder / "home", folder / "project"
        pipelines = self.project / "deployments" / "pipelines"
        pipelines.mkdir(parents=True)
        shutil.copy(REPOSITORY / "deployments" / "pipelines" / "digits.yaml", pipelines)
        example = REPOSITORY / "docs" / "examples" / "two_layers"
        shutil.copy(example / "two_layers.py", self.project)
        shutil.copy(example / "two-layers.yaml", pipelines)
        subprocess.run([sys.executable, str(example / "make_rows.py"), "1500"], cwd=self.project, check=True)
        self.pipelines = pipelines

    def environment(self, **more: str) -> dict[str, str]:
        """Of a user's shell."""
        mine = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_", "AWS_", "RATCHET_"))}
        by_hand = {
            "RATCHET_RECONCILE_SECONDS": "86400"
        }  # a test that asks what is repaired must be the one who repairs
        return {**mine, **by_hand, "RATCHET_HOME": str(self.home), "COLUMNS": "200", **more}

    def first_time(self, command: str) -> bool:
        """Whether nobody has tried it in this session."""
        try:
            (self.tried / command).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def start(self, *arguments: str, anew: bool = False, **environment: str) -> subprocess.Popen[str]:
        """A command in the background.

        The first time of a session, with a path of its own and if `anew`, it is started as in a user's shell; else it
        is a fork of the stack's warm process, which has imported everything.
        """
        anew = self.first_time(arguments[0]) or anew or arguments[0] in ANEW or "PYTHONPATH" in environment
        ratchet = str(Path(sys.executable).with_name("ratchet"))
        warm = str(Path(__file__).with_name("warm_command.py"))
        command = [ratchet] if anew else [sys.executable, warm, str(self.home)]
        return subprocess.Popen(
            [*command, *arguments],
            cwd=self.project,
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(
        self, *arguments: str, code: int = 0, timeout_s: float = 600, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """A command to its end; it must exit with `code` and without a traceback."""
        process = self.start(*arguments, **environment)
        try:
            out, err = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"ratchet {' '.join(arguments)} did not end:\n{out}{err}") from None
        assert process.returncode == code, f"ratchet {' '.join(arguments)}: {process.returncode}\n{out}\n{err}"
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def json(self, *arguments: str, code: int = 0, **environment: str) -> Any:
        """What a command prints with --json."""
        return json.loads(self(*arguments, "--json", code=code, **environment).stdout)

    def pipeline(self, name: str, *replacements: str, like: str = "two-layers") -> str:
        """A copy of a pipeline file under another name, with its own prefix; a replacement is `old -> new`."""
        text = (self.pipelines / f"{like}.yaml").read_text().replace(f"name: {like}", f"name: {name}")
        text = text.replace(f"prefix: {like}/", f"prefix: {name}/")
        for old, new in (replacement.split(" -> ", 1) for replacement in replacements):
            assert old in text, f"{old!r} is not in {like}.yaml"
            text = text.replace(old, new)
        (self.pipelines / f"{name}.yaml").write_text(text)
        return name

    @property
    def settings(self) -> Settings:
        """Addresses and credentials."""
        return load_settings(self.home)

    @cached_property
    def adapters(self) -> Adapters:
        """Of this stack, in the test's own process; once it is up."""
        from mlratchet.tasks.wiring import Adapters

        return Adapters(self.settings)

    def asks(self, name: str) -> dict[str, Any]:
        """The one request that waits for a person, as `ratchet approvals` shows it; a run of `name` is on its way."""
        asked = f"approvals/{name}/"
        wait_for(f"a run of {name} to ask", lambda: [*self.adapters.store.list(asked)], 300)
        (waiting,) = self.json("approvals", name)
        found: dict[str, Any] = waiting
        return found

    def prefect(self) -> SyncPrefectClient:
        """A client of this stack's server; `prefect.get_client` remembers the settings of its import."""
        from prefect.client.orchestration import SyncPrefectClient

        auth = self.settings.prefect_auth
        return SyncPrefectClient(
            self.settings.prefect_api_url, auth_string=auth.get_secret_value() if auth is not None else None
        )

    def link(self, page: str) -> str:
        """Leads a browser in to `prefect` or `mlflow`, once."""
        return self("open", page, "--print").stdout.strip()

    def services(self) -> dict[str, ServiceStatus]:
        """As the supervisor sees them."""
        return {service.name: service for service in status(self.home)}

    def healthy(self) -> bool:
        """Whether every service is."""
        return all(service.healthy for service in self.services().values())

    def left_on_disk(self) -> list[Path]:
        """What a stack that has ended must not leave: folders of its services, and SeaweedFS's sockets."""
        ports = known_ports(self.home)
        sockets = [Path(f"/tmp/seaweedfs-{of}-grpc-{ports[name] + GRPC_OFFSET}.sock") for of, name in SOCKETS.items()]
        return [path for path in (self.home / "tmp", *sockets) if path.exists()]


@pytest.fixture(scope="session", autouse=True)
def tried_commands(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One folder for all workers of the session."""
    own = tmp_path_factory.getbasetemp()
    Stack.tried = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "commands-tried"
    Stack.tried.mkdir(exist_ok=True)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One for the whole session. Tests use pipelines of their own."""
    made = Stack(tmp_path_factory.mktemp("stack"))
    before = dict(os.environ)
    try:
        made("up")
        apply_environment(made.settings)
        yield made
    finally:
        os.environ.clear()
        os.environ.update(before)
        made("down")
        assert marked_processes(STACK_MARK, str(made.home.resolve())) == []
        assert made.left_on_disk() == []
