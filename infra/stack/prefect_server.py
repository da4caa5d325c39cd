"""Prefect's own command line, behind our door, with SQLite transactions that wait for each other.

Prefect 3.8 begins its transactions DEFERRED. One that reads and then writes fails at once with "database is locked"
when another has written meanwhile, however long the busy timeout: SQLite cannot bring its snapshot up to date. In the
UI, a click on Run was answered with "Oops. Something went wrong" (503) once in three on a busy machine. IMMEDIATE
transactions queue for the write lock, for up to Prefect's 60 s. Sessions without a transaction, as most reads are, stay
as they are.
"""

from __future__ import annotations

import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from mlratchet.infra.machine.free_ports import remembered_ports
from mlratchet.infra.settings import load_settings
from mlratchet.infra.stack.access import AccessGuard, Locks, locks_of
from prefect.server.api import server
from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

begin_deferred = AioSqliteConfiguration.begin_transaction


def begin_immediate(
    configuration: AioSqliteConfiguration, session: AsyncSession, **_asked: bool
) -> AbstractAsyncContextManager[AsyncSessionTransaction]:
    """`AioSqliteConfiguration.begin_transaction`, which always takes the write lock first."""
    return begin_deferred(configuration, session, with_for_update=True)


def put_behind_a_door(locks: Locks) -> None:
    """What is served from now on in this process; what the server asks itself inside goes through no door."""
    create_app = server.create_app

    def create_served(*args: Any, **more: Any) -> Any:
        app = create_app(*args, **more)
        return AccessGuard(app, locks) if more.get("final") else app

    server.create_app = create_served


def main() -> None:
    """`python -m mlratchet.infra.stack.prefect_server HOME server start ...`"""
    from prefect.cli import app

    home = Path(sys.argv.pop(1))
    AioSqliteConfiguration.begin_transaction = begin_immediate  # type: ignore[assignment,method-assign]
    put_behind_a_door(locks_of(load_settings(home), "prefect", remembered_ports(home)["prefect"]))
    app()


if __name__ == "__main__":
    main()
