"""What a process is bound to, in words and as the kernel is told, and what this machine has no means for."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from mlratchet.infra.child import confine, landlock, seccomp
from mlratchet.infra.child.confine import Bounds, not_held, ports_of
from mlratchet.infra.machine import free_ports
from mlratchet.infra.machine.free_ports import given_ports, listened_on
from mlratchet.infra.stack.doctor import children, ranks


def bounds(**more: object) -> Bounds:
    return Bounds(scratch=Path("/tmp/scratch"), **more)  # type: ignore[arg-type]  # by name


def test_bounds_are_told_whole() -> None:
    told = bounds(reads=(Path("/a"),), closed=(Path("/b"),), connects="ranks", sockets="tcp", shared_memory=True)
    assert Bounds.from_json(told.to_json()) == told


def test_ranks_connect_where_nobody_listened_and_listen_where_the_kernel_says(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = {22, 38_304}
    monkeypatch.setattr(confine, "listened_on", lambda: taken)
    ports = ports_of(bounds(connects="ranks", sockets="tcp"))
    assert ports is not None
    assert tuple(ports.binds) == (landlock.ANY_PORT,)
    assert set(ports.connects) == set(given_ports()) - taken


def test_a_rank_without_others_connects_to_nothing_and_a_child_listens_to_nothing_either() -> None:
    alone, child = ports_of(bounds(sockets="tcp")), ports_of(bounds())
    assert alone is not None
    assert child is not None
    assert (tuple(alone.connects), tuple(alone.binds)) == ((), (landlock.ANY_PORT,))
    assert (tuple(child.connects), tuple(child.binds)) == ((), ())
    assert ports_of(bounds(connects="anywhere", sockets="tcp")) is None


def test_what_listens_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as service:
        assert service.getsockname()[1] in listened_on()
    monkeypatch.setattr(free_ports, "Path", lambda _: tmp_path / "away")
    assert given_ports() == range(32_768, 61_000)
    assert listened_on() == set()


@pytest.mark.parametrize(
    ("abi", "lacks"),
    [
        (0, ["files:", "TCP ports"]),
        (3, ["TCP ports, of ranks: Landlock 3", "signals: Landlock 3"]),
        (4, ["signals: Landlock 4"]),
        (6, []),
    ],
)
def test_doctor_says_by_which_means_and_what_is_not_held(
    monkeypatch: pytest.MonkeyPatch, abi: int, lacks: list[str]
) -> None:
    monkeypatch.setattr(landlock, "version", lambda: abi)
    monkeypatch.setattr(seccomp, "available", lambda: True)
    said, found = children()["found"], not_held()
    assert [words for words in lacks if not any(one.startswith(words) for one in found)] == []
    assert len(found) == len(lacks)
    assert said.startswith(f"Landlock {abi} and seccomp: " if abi else "seccomp: ")
    assert ("not held here" in said) == bool(lacks)


def test_doctor_says_where_no_call_is_filtered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp, "available", lambda: False)
    assert "sockets: no filter of system calls" in children()["found"]


def test_doctor_says_what_ranks_reach_beside() -> None:
    assert f"TCP ports {given_ports()[0]} to {given_ports()[-1]} on which nobody listened" in ranks()["found"]


def test_a_machine_without_means_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "version", lambda: 0)
    monkeypatch.setattr(seccomp, "available", lambda: False)
    assert confine.means() == "nothing"
