"""Requests of libraries that fail become one line with an exit code; secrets in addresses do not show."""

from __future__ import annotations

import httpx
import pytest
from mlratchet.infra.reasons import server_error


def failed(url: str, status: int | None = None) -> Exception:
    """As Prefect's client raises it."""
    try:
        reply = httpx.get(url) if status is None else httpx.Response(status, request=httpx.Request("GET", url))
        reply.raise_for_status()
    except httpx.HTTPError as error:
        return error
    raise AssertionError(f"{url} answered")


def test_a_server_that_is_away_is_named_with_what_to_do() -> None:
    known = server_error(failed("http://user:hunter2@127.0.0.1:9/api/flows?token=hunter3"))
    assert known is not None
    assert known.line() == (
        "INFRA: GET http://127.0.0.1:9/api/flows: connection refused; `ratchet status` says what is down, "
        "`ratchet up` starts it"
    )


@pytest.mark.parametrize(("status", "words"), [(500, "ratchet logs prefect"), (401, "refused the credentials")])
def test_a_refusal_of_a_server_says_where_to_look(status: int, words: str) -> None:
    known = server_error(failed("http://127.0.0.1:9/api", status))
    assert known is not None
    assert f"answered {status}" in known.line()
    assert words in known.line()


def test_what_a_server_says_about_a_wrong_request_is_kept() -> None:
    request = httpx.Request("POST", "http://127.0.0.1:9/api/deployments/")
    reply = httpx.Response(422, json={"detail": "Invalid cron\nstring"}, request=request)
    known = server_error(httpx.HTTPStatusError("422", request=request, response=reply))
    assert known is not None
    assert "POST http://127.0.0.1:9/api/deployments/: answered 422: " in known.line()
    assert "Invalid cron" in known.line()
    assert "\n" not in known.line()


def test_a_request_that_never_was_is_still_one_line() -> None:
    known = server_error(httpx.ConnectTimeout("no route\nto host"))
    assert known is not None
    assert known.line() == "INFRA: no route; `ratchet status` says what is down"


def test_an_error_of_our_own_stays_one() -> None:
    assert server_error(ValueError("a bug")) is None
