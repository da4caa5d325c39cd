"""Tell somebody of an alarm: a webhook of the installation's settings, or a notification block of Prefect."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

import httpx
from mlratchet.infra.reasons import brief
from mlratchet.infra.settings import Settings
from mlratchet.models.errors import ConfigurationError, InfrastructureError

TIMEOUT_S = 10.0  # to connect, and between two bytes
WITHIN_S = 20.0  # all of it: a server that sends a byte now and then is waited for no longer
WEBHOOK = "webhook"


class NotifyError(InfrastructureError):
    """Nobody could be told."""

    code = "NOTIFY"


def notify(settings: Settings, to: str, subject: str, body: str, facts: dict[str, Any]) -> None:
    """Tell it once.

    Args:
        settings: With the webhook's address, which never stands in a message.
        to: `webhook`, or `type/name` of a notification block.
        subject: One line.
        body: More of it.
        facts: JSON values; a webhook gets them beside `text`, which chat services show.

    Raises ``ConfigurationError`` where no address or no such block is set up, ``NotifyError`` where it does not answer
    within `WITHIN_S`.
    """
    if to == WEBHOOK:
        _within(to, lambda: _post(settings, {"text": f"{subject}\n{body}", **facts}))
    else:
        _within(to, lambda: _by_block(to, subject, body))


def _within(to: str, tell: Callable[[], None]) -> None:
    """Do it in a thread that nobody waits for in the end: what hangs is to hang no look of the monitor."""
    raised: list[Exception] = []

    def told() -> None:
        try:
            tell()
        except Exception as error:  # noqa: BLE001 - raised again by whoever waits
            raised.append(error)

    thread = threading.Thread(target=copy_context().run, args=(told,), daemon=True, name="notify")
    thread.start()
    thread.join(WITHIN_S)
    if thread.is_alive():
        raise NotifyError(f"monitoring.notify: {to} does not answer within {WITHIN_S:.0f} s")
    if raised:
        raise raised[0]


def _post(settings: Settings, document: dict[str, Any]) -> None:
    if settings.notify_webhook is None:
        raise ConfigurationError(
            "monitoring.notify: webhook, but this installation has no address for it; set RATCHET_NOTIFY_WEBHOOK"
        )
    address = settings.notify_webhook.get_secret_value()
    try:
        with httpx.stream("POST", address, json=document, timeout=TIMEOUT_S) as reply:  # what it says is not read
            status = reply.status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NotifyError(f"the webhook of RATCHET_NOTIFY_WEBHOOK: {brief(error)}") from None
    if status >= 300:
        raise NotifyError(f"the webhook of RATCHET_NOTIFY_WEBHOOK answers {status}")


def _by_block(to: str, subject: str, body: str) -> None:
    from prefect.blocks.abstract import NotificationBlock
    from prefect.blocks.core import Block

    try:
        block = Block.load(to)
    except ValueError as error:
        raise ConfigurationError(
            f"monitoring.notify: {to}: {brief(error)}; make the block on Prefect's page Blocks"
        ) from error
    if not isinstance(block, NotificationBlock):
        raise ConfigurationError(f"monitoring.notify: {to} is a {type(block).__name__}, expected one that notifies")
    try:
        told = block.notify(body, subject=subject)
        if told is not None:
            asyncio.run(told)
    except Exception as error:  # a block's client may fail in any way: the look must go on
        raise NotifyError(f"{to}: {brief(error)}") from error
