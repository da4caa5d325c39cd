"""`ratchet open` takes an address that a command printed, and none of anybody else's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from mlratchet.flows.cli import browse
from mlratchet.flows.cli.browse import Page, find_place, lead_in, service_of
from mlratchet.infra.stack.sessions import renew_key
from mlratchet.models.destination import Destination
from mlratchet.models.errors import ConfigurationError

RUNNING: dict[str, str | None] = {"prefect": "http://127.0.0.1:1", "mlflow": "http://127.0.0.1:2", "worker": None}
RUN = "0192e5c1-0000-7000-8000-000000000007"


@pytest.mark.parametrize(
    ("address", "page", "place"),
    [
        ("http://127.0.0.1:1/runs/flow-run/1?tab=Logs", Page.PREFECT, "/runs/flow-run/1?tab=Logs"),
        ("http://127.0.0.1:2/#/experiments/1/runs/2?view=x", Page.MLFLOW, "/#/experiments/1/runs/2?view=x"),
        ("http://127.0.0.1:1", Page.PREFECT, "/"),
    ],
)  # fmt: skip
def test_an_address_is_one_of_the_service_that_has_its_host_and_port(address: str, page: Page, place: str) -> None:
    assert service_of(address, RUNNING) == (page, place)


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:3/", "https://127.0.0.1:1/", "http://evil.example/", "http://127.0.0.1:1@evil.example/", "file:///x"],
)  # fmt: skip
def test_another_address_is_refused_with_those_that_there_are(address: str) -> None:
    with pytest.raises(ConfigurationError, match=r"is no page of this stack; there are: prefect http://127\.0\.0\.1:1"):
        service_of(address, RUNNING)


def test_a_path_that_would_leave_the_service_makes_no_link(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    renew_key(tmp_path)
    page, place = service_of("http://127.0.0.1:1//evil.example/", RUNNING)
    with pytest.raises(ConfigurationError, match="expected a path of prefect"):
        lead_in(tmp_path, page, "http://127.0.0.1:1", place, locked=True, print_link=True)


def test_a_run_by_its_id_is_found_without_a_look_at_the_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlratchet.tasks.wiring", None)
    assert find_place(Page.PREFECT, Destination(run=RUN)) == f"/runs/flow-run/{RUN}"
    assert find_place(Page.PREFECT, Destination()) == find_place(Page.MLFLOW, None) == "/"


def test_what_is_opened_is_printed_or_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    renew_key(tmp_path)
    shown: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: bool(shown.append(url)) or True)
    lead_in(tmp_path, Page.PREFECT, "http://127.0.0.1:1", f"/runs/flow-run/{RUN}", locked=True, print_link=False)
    assert capsys.readouterr().out == f"opened http://127.0.0.1:1/runs/flow-run/{RUN} in a browser\n"
    assert "token" not in "".join(shown)
    browse.lead_in(tmp_path, Page.PREFECT, "http://127.0.0.1:1", "/a", locked=False, print_link=True)
    assert capsys.readouterr().out == "http://127.0.0.1:1/a\n"
