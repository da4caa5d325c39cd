"""Calls in children: answers, errors, what they print, and all that a user's code may not do in one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlratchet.infra.child import call as calling
from mlratchet.infra.child import start as starting
from mlratchet.infra.child.call import ForkedChildren
from mlratchet.infra.child.confine import not_held
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.errors import ConfigurationError, DataError, InfrastructureError, SecurityError
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.ports.children import Children, ForeignCodeError, InProcess, Rights
from mlratchet.models.ports.storage import ObjectNotFound

FOREIGN = """
import json, os, signal, socket, subprocess, sys, time
from pathlib import Path
from mlratchet.models.errors import DataError

def add(request, workplace):
    return {"sum": sum(request["numbers"])}

def complain(request, workplace):
    raise DataError("rows.csv:17: no label")

def stumble(request, workplace):
    return 1 / 0

def talk(request, workplace):
    print("a line\\x1b[2J")
    return os.getpid()

def leave(request, workplace):
    os._exit(0)

def killed(request, workplace):
    os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does where memory has run out

def crash(request, workplace):
    os.kill(os.getpid(), signal.SIGSEGV)

def hang(request, workplace):
    while True:
        time.sleep(1)

def stay(request, workplace):
    code = "import time; time.sleep(600)"
    started = subprocess.Popen([sys.executable, "-c", code]).pid
    try:
        subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    except OSError as error:
        return {"pid": started, "left": "", "why": str(error)}
    return {"pid": started, "left": "its group"}

def look(request, workplace):
    return Path(request["path"]).read_text()

def write(request, workplace):
    Path(request["path"]).write_text("planted")

def note(request, workplace):
    (workplace.scratch / "note.txt").write_text("kept")

def environment(request, workplace):
    return dict(os.environ)

def signalled(request, workplace):
    os.kill(request["pid"], signal.SIGTERM)

def connect(request, workplace):
    with socket.socket(socket.AF_INET if "port" in request else socket.AF_UNIX) as made:
        made.connect(("127.0.0.1", request["port"]) if "port" in request else request["path"])

def datagram(request, workplace):
    if "port" in request:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"planted", ("127.0.0.1", request["port"]))
    else:
        ours, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)  # it needs no connect() to reach anybody
        ours.sendto(b"planted", request["path"])

def pair(request, workplace):
    ours, theirs = socket.socketpair()
    ours.sendall(b"between us")
    return theirs.recv(100).decode()

def store(request, workplace):
    kept = workplace.objects
    if request["do"] == "get":
        return kept.get(request["key"]).decode()
    if request["do"] == "list":
        return [one.key for one in kept.list(request["key"])]
    kept.create(request["key"], request["body"].encode())

def junk(request, workplace):
    return {1j}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("children")
    for name in ("home", "project"):
        (made / name).mkdir()
    (made / "project" / "foreign.py").write_text(FOREIGN)
    (made / "project" / "rows.csv").write_text("a,b")
    (made / "project" / ".secret").write_text("hidden")
    (made / "home" / "pipeline.pem").write_text("the key")
    return made


@pytest.fixture(scope="module")
def forked(folder: Path) -> ForkedChildren:
    return ForkedChildren(None, closed=(folder / "home",))


@pytest.fixture
def ask(forked: ForkedChildren, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.chdir(folder / "project")

    def made(name: str, request: dict[str, Any] | None = None, **more: Any) -> Any:
        return forked.call(f"foreign:{name}", request or {}, **more)

    return made


def test_a_call_answers(ask: Callable[..., Any]) -> None:
    assert ask("add", {"numbers": [1, 2, 3]}) == {"sum": 6}


def test_an_error_of_ours_is_raised_here(ask: Callable[..., Any]) -> None:
    with pytest.raises(DataError, match=r"^rows.csv:17: no label$"):
        ask("complain")


def test_any_other_is_told_with_the_users_own_line(ask: Callable[..., Any]) -> None:
    with pytest.raises(ForeignCodeError, match=r"^ZeroDivisionError: division by zero \(foreign.py:13\)$"):
        ask("stumble")


@pytest.mark.parametrize("name", ["leave", "junk", "crash"])
def test_what_is_no_answer_is_the_users_mistake(ask: Callable[..., Any], name: str) -> None:
    with pytest.raises(ForeignCodeError):
        ask(name)


def test_a_child_that_was_killed_from_outside_is_nobodys_mistake_and_worth_another_try(ask: Callable[..., Any]) -> None:
    with pytest.raises(InfrastructureError, match=r"foreign:killed: its process was killed \(SIGKILL\)") as told:
        ask("killed")
    assert not isinstance(told.value, ConfigurationError)


def test_a_call_in_this_process_answers_and_complains_alike(
    ask: Callable[..., Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(folder / "project"))
    assert InProcess().call("foreign:add", {"numbers": [1, 2]}) == ask("add", {"numbers": [1, 2]})
    with pytest.raises(ForeignCodeError, match=r"^ZeroDivisionError: division by zero \(foreign.py:13\)$"):
        InProcess().call("foreign:stumble", {})
    assert isinstance(InProcess(), Children)


def test_what_it_prints_is_passed_on_and_moves_no_cursor(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder / "project")
    lines: list[str] = []
    assert ForkedChildren(None, log=lines.append).call("foreign:talk", {}) != os.getpid()
    assert lines == ["a line?[2J"]


def test_what_hangs_is_ended(ask: Callable[..., Any]) -> None:
    began = time.monotonic()
    with pytest.raises(ForeignCodeError, match=r"no answer within 0.5 s"):
        ask("hang", time_limit_s=0.5)
    assert time.monotonic() - began < 120


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 120
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_nothing_of_it_is_left_running(ask: Callable[..., Any]) -> None:
    told = ask("stay")
    assert told["left"] == "", told
    assert gone(told["pid"])


held = pytest.mark.skipif(bool(not_held()), reason=f"not held here: {not_held()}")


@held
def test_it_reads_no_key_and_nothing_hidden_but_the_project(ask: Callable[..., Any], folder: Path) -> None:
    assert ask("look", {"path": str(folder / "project" / "rows.csv")}) == "a,b"
    for path in ("home/pipeline.pem", "project/.secret"):
        with pytest.raises(ForeignCodeError, match="Permission denied"):
            ask("look", {"path": str(folder / path)})


@held
def test_it_reads_no_memory_and_no_environment_of_who_called(ask: Callable[..., Any]) -> None:
    assert ask("look", {"path": "/proc/self/comm"})
    for name in ("environ", "mem", "maps"):
        with pytest.raises(ForeignCodeError, match="Permission denied"):
            ask("look", {"path": f"/proc/{os.getpid()}/{name}"})


@held
def test_it_writes_its_scratch_alone(ask: Callable[..., Any], folder: Path, tmp_path: Path) -> None:
    ask("note", scratch=tmp_path)
    assert (tmp_path / "note.txt").read_text() == "kept"
    installed = Path(psutil.__file__).parent.parent / "planted_by_a_test.pth"
    for path in (
        folder / "project" / "new.py",
        folder / "project" / "rows.csv",
        installed,
        folder / "home" / "new.pem",
    ):
        with pytest.raises(ForeignCodeError, match="Permission denied"):
            ask("write", {"path": str(path)})


@held
def test_it_signals_nobody_outside(ask: Callable[..., Any]) -> None:
    with pytest.raises(ForeignCodeError, match="Operation not permitted"):
        ask("signalled", {"pid": os.getpid()})


@held
def test_it_connects_to_nothing(ask: Callable[..., Any], folder: Path) -> None:
    with socket.socket() as listener, socket.socket(socket.AF_UNIX) as local:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        local.bind(str(folder / "service.sock"))
        local.listen()
        for where in ({"port": listener.getsockname()[1]}, {"path": str(folder / "service.sock")}):
            with pytest.raises(ForeignCodeError, match=r"Operation not permitted|Permission denied"):
                ask("connect", where)
    (folder / "service.sock").unlink()


@held
def test_it_sends_nobody_a_datagram(ask: Callable[..., Any], folder: Path) -> None:
    path = folder / "log.sock"
    with (
        socket.socket(type=socket.SOCK_DGRAM) as port,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as local,
    ):
        port.bind(("127.0.0.1", 0))
        local.bind(str(path))
        for where in ({"port": port.getsockname()[1]}, {"path": str(path)}):
            with pytest.raises(ForeignCodeError, match="Operation not permitted"):
                ask("datagram", where)
        for listener in (port, local):
            listener.setblocking(False)
            with pytest.raises(BlockingIOError):
                listener.recv(100)
    path.unlink()


@held
def test_it_may_talk_to_itself(ask: Callable[..., Any]) -> None:
    assert ask("pair") == "between us"


def test_it_is_told_no_secret(ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("RATCHET_SIGNING_KEY", "secret")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    told = ask("environment")
    assert "secret" not in told.values()
    assert told["OMP_NUM_THREADS"] == "1"


@pytest.fixture
def lent(store: MemoryStore) -> MemoryStore:
    store.put("shards/one", b"rows")
    store.put("ledger/one", b"history")
    return store


RIGHTS = Rights(read=("shards/",), create=("rows/",))


def test_it_reads_what_it_was_lent(ask: Callable[..., Any], lent: MemoryStore) -> None:
    lent_too = {"store": lent, "rights": RIGHTS}
    assert ask("store", {"do": "get", "key": "shards/one"}, **lent_too) == "rows"
    assert ask("store", {"do": "list", "key": "shards/"}, **lent_too) == ["shards/one"]
    with pytest.raises(ObjectNotFound):
        ask("store", {"do": "get", "key": "shards/two"}, **lent_too)
    for request in ({"do": "get", "key": "ledger/one"}, {"do": "list", "key": "ledger/"}, {"do": "list", "key": ""}):
        with pytest.raises(SecurityError):
            ask("store", request, **lent_too)


def test_it_creates_only_what_its_bytes_name(ask: Callable[..., Any], lent: MemoryStore) -> None:
    key = f"rows/{digest_bytes(b'outputs')}.bin"
    ask("store", {"do": "create", "key": key, "body": "outputs"}, store=lent, rights=RIGHTS)
    assert lent.get(key) == b"outputs"
    for other, body in ((key.replace("rows", "ledger"), "outputs"), (key, "others"), ("rows/champion", "outputs")):
        with pytest.raises(SecurityError):
            ask("store", {"do": "create", "key": other, "body": body}, store=lent, rights=RIGHTS)


def test_a_call_without_a_store_has_none(ask: Callable[..., Any]) -> None:
    with pytest.raises(ConfigurationError, match="no store"):
        ask("store", {"do": "get", "key": "shards/one"})


def test_an_answer_cannot_choose_any_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert calling.answer_in({"done": None}) is None
    with pytest.raises(ForeignCodeError, match=r"^a\?b$"):
        calling.answer_in({"failed": "GateRefusedError", "why": "a\x07b"})


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = {one.pid for one in psutil.Process().children(recursive=True)}
    yield
    left = [one for one in psutil.Process().children(recursive=True) if one.pid not in before]
    assert [one.cmdline() for one in left if "nursery" not in " ".join(one.cmdline())] == []


def test_the_warm_process_forks_for_no_child() -> None:
    """A fork of it would be bound to nothing. The one who asks has given up new privileges, as every child has."""
    program = (
        "import ctypes, socket, sys; from mlratchet.infra.warm import protocol as p; "
        "a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET); print(p.may_ask(a)); "
        "ctypes.CDLL(None).prctl(38, 1, 0, 0, 0); print(p.may_ask(a))"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["True", "False"]


PROBE = """
try:
    open({key!r}).read()
    open({scratch!r}, "w").close()
except OSError:
    pass
"""


@held
@pytest.mark.parametrize("by", ["folder", "PYTHONPATH"])
def test_a_file_named_like_what_is_imported_reads_no_key(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """No nursery takes such a call: it begins in an interpreter of its own, which is to be bound before it looks at the
    project."""
    (tmp_path / "own.py").write_text('def add(request, workplace):\n    return sum(request["numbers"])\n')
    for name in ("selectors", "sitecustomize", "networkx"):
        text = PROBE.format(key=str(folder / "home" / "pipeline.pem"), scratch=str(tmp_path / f"{name}.read"))
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path if by == "folder" else folder)
    if by == "PYTHONPATH":
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    children = ForkedChildren(None, closed=(folder / "home",))
    assert children.call("own:add", {"numbers": [1, 2]}) == 3
    assert [one.name for one in tmp_path.glob("*.read")] == []


def test_without_a_stack_ranks_are_forks_of_what_children_are_forks_of(ask: Callable[..., Any], tmp_path: Path) -> None:
    """What both import is then in memory once. Where there is no nursery, an interpreter of its own is started."""
    assert ask("add", {"numbers": [1]}) == {"sum": 1}  # there is a nursery
    found = {}
    for name, nurseries in {"fork": None, "alone": []}.items():
        with pytest.MonkeyPatch.context() as changed, (tmp_path / name).open("wb") as sink:
            if nurseries is not None:
                changed.setattr(starting, "_nursery", nurseries)
            ours, theirs = socket.socketpair()
            with ours, theirs:
                process = starting.start_agent_of_ranks(
                    "mlratchet.infra.child.frames", ["x"], home=tmp_path, environment=dict(os.environ),
                    output=sink.fileno(), when_gone=signal.SIGTERM, source=theirs.fileno(),
                )  # fmt: skip
                found[name] = (isinstance(process, subprocess.Popen), process.wait(120))
    assert found == {"fork": (False, 0), "alone": (True, 0)}
