"""Which ports a service is given: none that anybody else could take before it listens, or while it is away."""

from __future__ import annotations

import random
from pathlib import Path

from mlratchet.infra.machine.free_ports import GRPC_OFFSET, NAMES, USUALLY_GIVEN, find_port, port_of, remembered_ports


def test_a_port_that_was_told_is_told_to_nobody_else() -> None:
    """Two stacks that come up at once, or a server that does not listen yet."""
    told = []
    for _ in range(2):
        random.seed(20261128)
        told.append(find_port(set()))
    assert told[0] != told[1]


def test_no_connection_is_given_the_port_of_a_service_or_its_partner(tmp_path: Path) -> None:
    """SeaweedFS that is killed would find its own taken, by a client that tried to reach it and holds it for long."""
    port_of(tmp_path, "serve")
    ports = remembered_ports(tmp_path)
    assert {*ports} == {*NAMES, "serve"}
    assert len(set(ports.values())) == len(ports)
    assert max(ports.values()) + GRPC_OFFSET < USUALLY_GIVEN[0]
