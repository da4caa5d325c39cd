"""Two transactions of Prefect that read and then write at the same time are both made, on SQLite."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from mlratchet.infra.stack.prefect_server import begin_immediate
from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy import text
from sqlalchemy.exc import OperationalError


async def both(file: Path, patience_s: float) -> int:
    """Each reads the counter, lets the other one read it too, if it does so in time, and adds one; the sum."""
    configuration = AioSqliteConfiguration(f"sqlite+aiosqlite:///{file}")
    engine = await configuration.engine()
    have_read = asyncio.Barrier(2)

    async def add() -> None:
        session = await configuration.session(engine)
        async with session, configuration.begin_transaction(session):
            held = (await session.execute(text("SELECT n FROM counter"))).scalar_one()
            with suppress(TimeoutError, asyncio.BrokenBarrierError):
                await asyncio.wait_for(have_read.wait(), patience_s)
            await session.execute(text("UPDATE counter SET n = :n"), {"n": held + 1})

    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE counter (n INTEGER)"))
        await connection.execute(text("INSERT INTO counter VALUES (0)"))
    try:
        await asyncio.gather(add(), add())
        session = await configuration.session(engine)
        async with session:
            return int((await session.execute(text("SELECT n FROM counter"))).scalar_one())
    finally:
        await engine.dispose()


def test_transactions_queue_for_the_write_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OperationalError, match="database is locked"):  # why the replacement is there
        asyncio.run(both(tmp_path / "deferred.db", 60.0))
    monkeypatch.setattr(AioSqliteConfiguration, "begin_transaction", begin_immediate)
    assert asyncio.run(both(tmp_path / "immediate.db", 0.05)) == 2  # the second reads when the first is through
