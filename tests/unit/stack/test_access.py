"""Who is let in: the rules one by one, then the door in front of an application that says yes to everything."""

from __future__ import annotations

import asyncio
import html
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from mlratchet.infra.settings import basic
from mlratchet.infra.stack.access import AccessGuard, Locks, RequestFacts, one_time_link, refusal, sessions_of
from mlratchet.infra.stack.sessions import LINK_S, SESSION_S, Sessions, key_file, renew_key
from mlratchet.models.errors import InfrastructureError
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

HOST = "127.0.0.1:4200"
NOBODY = RequestFacts(
    method="GET", host=HOST, origin="", fetch_site="", fetch_mode="", fetch_dest="", authorization="", cookie=""
)  # fmt: skip
LOCKS = Locks(service="prefect", host=HOST, credentials="ratchet:word", sessions=Sessions(b"k" * 32, "prefect"))
OWNER = replace(NOBODY, authorization=basic("ratchet:word"))


def status(asked: RequestFacts, locks: Locks = LOCKS) -> int:
    """200 for who is let in."""
    refused = refusal(asked, locks)
    return 200 if refused is None else refused.status


def with_cookie(asked: RequestFacts, value: str) -> RequestFacts:
    assert LOCKS.sessions is not None
    return replace(asked, cookie=f"other=1; {LOCKS.sessions.cookie}={value}")


def test_the_password_or_a_session_lets_in() -> None:
    assert LOCKS.sessions is not None
    assert status(OWNER) == 200
    assert status(with_cookie(NOBODY, LOCKS.sessions.cookie_value())) == 200


@pytest.mark.parametrize(
    "given",
    [
        "", "Basic", "Basic cmF0Y2hldDp3b3JkIA==", basic("ratchet:"), basic(":word"), basic("ratchet:wordy"),
        "Bearer ratchet:word", f"{basic('ratchet:word')}, {basic('a:b')}", "Basic \u00e9",
    ],
)  # fmt: skip
def test_another_password_does_not(given: str) -> None:
    assert status(replace(NOBODY, authorization=given)) == 401


@pytest.mark.parametrize(
    "host", ["", "evil.example", "evil.example:4200", "127.0.0.1", "127.0.0.1:4201", "localhost:4200"]
)
def test_a_rebound_name_is_no_name_of_ours_even_with_the_password(host: str) -> None:
    assert status(replace(OWNER, host=host)) == 421


@pytest.mark.parametrize("origin", ["null", "http://evil.example", "http://127.0.0.1:4201", "https://127.0.0.1:4200"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_no_page_of_another_origin_asks_even_with_a_session(origin: str, method: str) -> None:
    assert LOCKS.sessions is not None
    asked = with_cookie(replace(NOBODY, origin=origin, method=method), LOCKS.sessions.cookie_value())
    assert status(asked) == 403
    assert status(replace(asked, origin=f"http://{HOST}")) == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_site_may_lead_to_a_page_and_do_nothing_else(site: str) -> None:
    assert LOCKS.sessions is not None
    asked = with_cookie(replace(NOBODY, fetch_site=site, fetch_dest="document"), LOCKS.sessions.cookie_value())
    assert status(replace(asked, fetch_mode="navigate")) == 200
    assert status(replace(asked, fetch_mode="navigate", method="POST")) == 403
    assert status(replace(asked, fetch_mode="navigate", fetch_dest="iframe")) == 403
    assert status(replace(asked, fetch_mode="no-cors", fetch_dest="image")) == 403


def test_without_passwords_host_and_origin_still_count() -> None:
    everybody = replace(LOCKS, credentials=None, sessions=None)
    assert status(NOBODY, everybody) == 200
    assert status(replace(NOBODY, host="evil.example"), everybody) == 421
    assert status(replace(NOBODY, origin="http://evil.example"), everybody) == 403
    assert status(replace(NOBODY, fetch_site="cross-site", fetch_mode="no-cors"), everybody) == 403


class Clock:
    """Moved by hand."""

    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


def test_a_link_works_in_the_instant_that_its_service_began() -> None:
    clock = Clock()
    clock.now_s = 1_795_714_734.8134
    mine = Sessions(b"k" * 32, "prefect", clock=clock)
    assert mine.redeem(mine.link_token())


def test_a_link_works_once_for_its_service_and_for_two_minutes() -> None:
    clock = Clock()
    mine = Sessions(b"k" * 32, "prefect", clock=clock)
    theirs = Sessions(b"k" * 32, "mlflow", clock=clock)
    token = mine.link_token()
    assert not theirs.redeem(token)
    assert mine.redeem(token)
    assert not mine.redeem(token)
    late = mine.link_token()
    clock.now_s += LINK_S + 1
    assert not mine.redeem(late)
    early = mine.link_token()
    clock.now_s += 10
    assert not Sessions(b"k" * 32, "prefect", clock=clock).redeem(early)  # a new process does not know what was used


@pytest.mark.parametrize(
    "change", [lambda t: "", lambda t: t[:-1], lambda t: t.replace("1", "2", 1), lambda t: "~~", lambda t: "\u00e9~x"]
)
def test_nobody_without_the_key_makes_a_link_or_a_session(change: Any) -> None:
    mine = Sessions(b"k" * 32, "prefect", clock=Clock())
    assert not mine.redeem(change(mine.link_token()))
    assert not mine.holds(change(mine.cookie_value()))
    assert not mine.holds(mine.link_token())
    assert not mine.redeem(mine.cookie_value())
    assert not Sessions(b"x" * 32, "prefect").holds(mine.cookie_value())


def test_a_session_ends_after_its_days_and_with_the_stack(tmp_path: Path) -> None:
    clock = Clock()
    mine = Sessions(b"k" * 32, "prefect", clock=clock)
    value = mine.cookie_value()
    clock.now_s += SESSION_S - 1
    assert mine.holds(value)
    clock.now_s += 2
    assert not mine.holds(value)
    (tmp_path / "run").mkdir()
    renew_key(tmp_path)
    assert key_file(tmp_path).stat().st_mode & 0o777 == 0o600
    value = sessions_of(tmp_path, "prefect").cookie_value()
    renew_key(tmp_path)
    assert not sessions_of(tmp_path, "mlflow").holds(value)


async def yes(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers everything."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"yes"})


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    renew_key(tmp_path)
    return tmp_path


@pytest.fixture
def client(home: Path) -> TestClient:
    door = AccessGuard(yes, replace(LOCKS, sessions=sessions_of(home, "prefect")))
    return TestClient(door, base_url=f"http://{HOST}")


def test_a_link_lets_a_browser_in_to_every_path_and_websocket(home: Path, client: TestClient) -> None:
    for path in ("/", "/docs", "/api/health", "/ratchet-open"):
        assert client.get(path).status_code == 401
    with (
        pytest.raises((WebSocketDisconnect, WebSocketDenialResponse)),
        client.websocket_connect(f"ws://{HOST}/api/events/out"),
    ):
        pass
    link = one_time_link(home, "prefect", f"http://{HOST}")
    assert client.head(link).status_code == 401  # what looks at a link before a person does
    reply = client.get(link)
    assert reply.status_code == 200
    assert "yes" not in reply.text
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {*reply.headers["set-cookie"].split("; ")}
    assert client.get("/docs").text == "yes"
    with client.websocket_connect(f"ws://{HOST}/api/events/out"):
        pass
    assert TestClient(client.app, base_url=f"http://{HOST}").get(link).status_code == 401


PAGE = "/#/experiments/1/runs/0a?workflowType=machine_learning&x='\"<>"


@pytest.mark.parametrize("place", ["/", "/runs/flow-run/1?tab=Logs", PAGE])
def test_a_link_leads_to_the_very_page(home: Path, client: TestClient, place: str) -> None:
    reply = client.get(one_time_link(home, "prefect", f"http://{HOST}", place))
    assert f'<meta http-equiv="refresh" content="0;url={html.escape(place)}">' in reply.text
    assert "<script>" not in reply.text


ELSEWHERE = [
    "https://evil.example/", "//evil.example", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)", "", "evil",
    "/\tevil", "/x y", "/a\n", "\u00a0//evil.example", "/\u2028x", "http:evil", "/a\\b",
]  # fmt: skip


@pytest.mark.parametrize("place", ELSEWHERE)
def test_a_link_leads_nowhere_else_even_when_it_is_signed(home: Path, client: TestClient, place: str) -> None:
    with pytest.raises(ValueError, match="expected a path of prefect"):
        one_time_link(home, "prefect", f"http://{HOST}", place)
    signed = sessions_of(home, "prefect").link_token(place)
    reply = client.get("/ratchet-open", params={"token": signed, "to": place})
    assert reply.status_code == 401
    assert "set-cookie" not in reply.headers


def test_the_page_of_a_link_cannot_be_exchanged(home: Path, client: TestClient) -> None:
    link = one_time_link(home, "prefect", f"http://{HOST}", "/runs")
    token = parse_qs(urlsplit(link).query)["token"][0]
    assert client.get("/ratchet-open", params={"token": token, "to": "/settings"}).status_code == 401
    assert client.get("/ratchet-open", params={"token": token}).status_code == 401
    assert client.get(link).status_code == 200


def test_a_link_helps_no_rebound_name_and_no_foreign_page(home: Path, client: TestClient) -> None:
    link = one_time_link(home, "prefect", f"http://{HOST}")
    assert client.get(link, headers={"host": "evil.example"}).status_code == 421
    assert client.get(link, headers={"origin": "http://evil.example"}).status_code == 403
    assert "set-cookie" not in client.get("/").headers
    assert client.get(link).status_code == 200


def test_a_stack_of_an_earlier_release_has_no_links(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match="started by an earlier release"):
        one_time_link(tmp_path, "prefect", f"http://{HOST}")


def test_two_headers_that_should_be_one_are_refused() -> None:
    door = AccessGuard(yes, LOCKS)
    sent: list[Any] = []

    async def ask() -> None:
        headers = [
            (b"host", HOST.encode()),
            (b"host", b"evil.example"),
            (b"authorization", OWNER.authorization.encode()),
        ]
        scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers}

        async def send(message: Any) -> None:
            sent.append(message)

        await door(scope, httpx.AsyncByteStream, send)  # type: ignore[arg-type]  # nothing is read

    asyncio.run(ask())
    assert sent[0]["status"] == 421
