"""A server that was just asked for is waited for, and where it does not come it is said which it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest
from mlratchet.infra.serving.awaited import ServerProcess, wait_for_answers
from mlratchet.models.errors import InfrastructureError
from mlratchet.models.serving.app import STARTING

URL = "http://127.0.0.1:1/shop"
Reply = Callable[[], httpx.Response]


def refused() -> httpx.Response:
    raise httpx.ConnectError("[Errno 111] Connection refused")


def says(status: int, reason: str = "") -> Reply:
    return lambda: httpx.Response(status, json={"reason": reason})


def waited(
    replies: list[Reply], pids: list[int | None], *, supervised: bool = True, url: str | None = URL
) -> tuple[list[str], int]:
    """The lines told and how often it was asked; each second brings the next reply and pid, the last ones stay."""
    told: list[str] = []
    asked = 0

    def answer(_: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        return replies[min(asked, len(replies)) - 1]()

    looks = iter([*pids, *[pids[-1]] * 99])

    def seconds() -> Iterator[float]:
        yield from map(float, range(99))

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        wait_for_answers(
            "shop", lambda: url, lambda: ServerProcess(pid=next(looks), supervised=supervised), tell=told.append,
            client=client, ticks=seconds(),
        )  # fmt: skip
    return told, asked


@pytest.mark.parametrize("last", [says(200), says(503, "SECURITY: changed"), says(500)])
def test_one_that_answers_is_not_waited_for(last: Reply) -> None:
    assert waited([last], [7]) == ([], 1)


def looks_up() -> httpx.Response:
    return httpx.Response(503, json={"field": "path", "error": STARTING})


@pytest.mark.parametrize("first", [refused, looks_up, says(503, "starting"), says(503, "no champion yet"), says(404)])
def test_one_that_starts_is_waited_for_with_one_line(first: Reply) -> None:
    told, asked = waited([first, first, first, first, says(200)], [None, 7])
    assert asked == 5
    assert told == ["the server of shop is starting; waiting up to 30 s"]


@pytest.mark.parametrize(
    ("pids", "words"),
    [
        ([None, 7], "is still starting, as process 7, after 30 s: .*refused; see `ratchet logs serve-shop`"),
        ([7, None], "has died: process 7 ended, and it is gone after 30 s"),
        ([7, None, 8], "has died: process 7 ended, and it was started again as process 8 after 30 s"),
        ([None], "was not started after 30 s"),
    ],
)
def test_at_the_end_it_is_said_which_of_the_two_it_is(pids: list[int | None], words: str) -> None:
    with pytest.raises(InfrastructureError, match=words):
        waited([refused], pids)


def test_where_the_stack_is_down_nothing_is_waited_for() -> None:
    with pytest.raises(InfrastructureError, match=r"nothing serves shop: the stack is down .*`ratchet up` starts it"):
        waited([refused], [None], supervised=False)


def test_one_without_an_address_is_starting() -> None:
    with pytest.raises(InfrastructureError, match="it has no address yet"):
        waited([says(200)], [7], url=None)
