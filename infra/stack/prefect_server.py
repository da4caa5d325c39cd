"""Prefect's own command line, with SQLite transactions that wait for each other.

Prefect 3.8 begins its transactions DEFERRED. One that reads and then writes fails at once with "database is locked"
when another has written meanwhile, however long the busy timeout: SQLite cannot bring its snapshot up to date. In the
UI, a click on Run was answered with "Oops. Something went wrong" (503) once in three on a busy machine. IMMEDIATE
transactions queue for the write lock, for up to Prefect's 60 s. Sessions without a transaction, as most reads are, stay
as they are.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

begin_deferred = AioSqliteConfiguration.begin_transaction


def begin_immediate(
    configuration: AioSqliteConfiguration, session: AsyncSession, **_asked: bool
) -> AbstractAsyncContextManager[AsyncSessionTransaction]:
    """`AioSqliteConfiguration.begin_transaction`, which always takes the write lock first."""
    return begin_deferred(configuration, session, with_for_update=True)


def main() -> None:
    """`python -m mlratchet.infra.stack.prefect_server server start ...`"""
    from prefect.cli import app

    AioSqliteConfiguration.begin_transaction = begin_immediate  # type: ignore[assignment,method-assign]
    app()


if __name__ == "__main__":
    main()
