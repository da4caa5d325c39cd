"""A child that is asked again and again: one process for all calls, a new one after it failed, held as any other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlratchet.infra.child.confine import not_held
from mlratchet.infra.child.lasting import LastingChild
from mlratchet.models.errors import InfrastructureError
from mlratchet.models.ports.children import ForeignCodeError, Rights
from mlratchet.models.ports.memory import ObjectsInMemory

from tests.unit.child.test_call import FOREIGN, gone


@pytest.fixture
def lasting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LastingChild]:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "pipeline.pem").write_text("the key")
    (tmp_path / "foreign.py").write_text(FOREIGN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RATCHET_S3_SECRET_KEY", "secret")
    made = LastingChild(closed=(tmp_path / "home",), most_s=120.0, log=lambda _: None)
    yield made
    made._end()


def pid_of(one: LastingChild) -> int:
    return int(one.call("foreign:talk", {}))


def test_one_process_answers_all_calls_also_after_an_error_of_the_users(lasting: LastingChild) -> None:
    first, lent = pid_of(lasting), ObjectsInMemory("rows")
    lent.put("in/one", b"rows")
    assert lasting.call("foreign:add", {"numbers": [1, 2]}) == {"sum": 3}
    asked: dict[str, Any] = {"do": "get", "key": "in/one"}
    for _ in range(3):
        assert lasting.call("foreign:store", asked, store=lent, rights=Rights(read=("in/",))) == "rows"
    with pytest.raises(ForeignCodeError, match="ZeroDivisionError"):
        lasting.call("foreign:stumble", {})
    assert pid_of(lasting) == first
    lasting._end()
    assert gone(first)


def test_one_that_hangs_or_ends_is_followed_by_another(lasting: LastingChild) -> None:
    first = pid_of(lasting)
    with pytest.raises(ForeignCodeError, match=r"no answer within 0.5 s"):
        lasting.call("foreign:hang", {}, time_limit_s=0.5)
    assert gone(first)
    second = pid_of(lasting)
    with pytest.raises(ForeignCodeError, match="ended without an answer"):
        lasting.call("foreign:leave", {})
    assert gone(second)
    with pytest.raises(InfrastructureError, match="killed"):
        lasting.call("foreign:killed", {})
    assert pid_of(lasting) not in (first, second)


@pytest.mark.skipif(bool(not_held()), reason=f"not held here: {not_held()}")
def test_it_holds_no_secret_and_reads_no_key(lasting: LastingChild, tmp_path: Path) -> None:
    assert "secret" not in lasting.call("foreign:environment", {}).values()
    with pytest.raises(ForeignCodeError, match="Permission denied"):
        lasting.call("foreign:look", {"path": str(tmp_path / "home" / "pipeline.pem")})
    with pytest.raises(ForeignCodeError, match="Operation not permitted"):
        lasting.call("foreign:connect", {"path": "/run/docker.sock"})


def test_it_ends_with_who_asks_it(lasting: LastingChild) -> None:
    pid = pid_of(lasting)
    lasting.__del__()
    assert gone(pid)
    assert not [one for one in psutil.Process().children() if one.pid == pid and one.is_running()]
