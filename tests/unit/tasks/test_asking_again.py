"""Programs are asked again about rows of the log: as examples, prepared as the version prepares them, by field."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.inference_log.columns import OF_EVERY_ROW, log_schema
from mlratchet.models.inference_log.config import LogConfig
from mlratchet.models.metrics.rows import RowOutputs, save_rows
from mlratchet.models.schema.fields import Schema
from mlratchet.models.sources.record import Split
from mlratchet.models.workloads.prepared import prepare_away
from mlratchet.tasks.support import asking_again
from mlratchet.tasks.support.asking_again import AskAgain, stored_rows
from mlratchet.tasks.support.open_version import Version

from tests.unit.serving.six_schemas import KINDS, YES_OR_NO, predictor_of

SCHEMA = Schema.model_validate({"fields": {**KINDS["shop"].fields, "left": YES_OR_NO}, "label": "left"})
ROWS = 40


def rows_of_the_log(config: LogConfig | None = None) -> pa.Table:
    """Of a shop, every other of which is larger, with what a version said of them."""
    columns = log_schema(SCHEMA, config or LogConfig())
    rows = [
        {
            "request_id": f"r{at}", "row": 0, "received_s": float(at), "latency_ms": 1.0, "version": 2,
            "generation": 2, "variant": "champion", "status": 200, "replayed": False,
            "output": [1.0, 0.0] if at % 2 else [0.0, 1.0], "field.size": None if at == 3 else float(at),
            "field.town": "Lund" if at % 3 else "Malmö", "field.note": "a very good thing",
            "field.day": np.datetime64("2026-03-01", "us").item(),
        }
        for at in range(ROWS)
    ]  # fmt: skip
    known = {one.name for one in columns}
    return pa.Table.from_pylist([{key: row[key] for key in row if key in known} for row in rows], schema=columns)


@pytest.fixture
def asks(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Of version 2; version 1 is the same program under another number."""
    predictor, store = predictor_of("shop"), MemoryStore("store")
    about = predictor.signature.input.example
    assert about is not None
    stored = stored_rows(rows_of_the_log(), about)
    ids = [str(at) for at in range(ROWS)]
    said = RowOutputs(ids=ids, y=np.zeros(ROWS, np.int64), output=np.tile([1.0, 0.0], (ROWS, 1)))
    record: Any = SimpleNamespace(version=2, rows_key=save_rows(store, said))
    opened: list[int] = []

    def open_version(_: Any, record: Any, __: Any, ___: Any) -> Version:
        opened.append(record.version)
        return Version(record=record, signature=predictor.signature, program=predictor.model)

    prepared = prepare_away(about, stored)
    monkeypatch.setattr(asking_again, "open_version", open_version)
    monkeypatch.setattr(asking_again, "registration_of", lambda *_: SimpleNamespace(version=1))
    monkeypatch.setattr(asking_again, "load_split", lambda *_: Split(ids=ids, x=prepared, y=np.zeros(ROWS, np.int64)))
    ledger = SimpleNamespace(entries=lambda _: [SimpleNamespace(version=1), SimpleNamespace(version=2)])
    adapters: Any = SimpleNamespace(store=store, ledger=ledger)
    ask = AskAgain(adapters=adapters, name="shop", record=record, manifest=SimpleNamespace(), rows=30)  # type: ignore[arg-type]  # `load_split` stands in for it
    return SimpleNamespace(ask=ask, opened=opened)


def test_shares_are_told_by_field_of_the_test_rows_and_of_the_window(asks: Any) -> None:
    told = asks.ask(rows_of_the_log())
    assert set(told.fields) == set(KINDS["shop"].fields)
    assert told.test.shape == (30, 4)
    assert told.window.shape == (ROWS, 4)
    assert told.window.sum(axis=1) == pytest.approx(np.ones(ROWS))
    assert told.method


def test_the_version_before_is_asked_about_the_same_rows(asks: Any) -> None:
    told = asks.ask(rows_of_the_log())
    assert asks.opened == [2, 1]
    assert told.before == 1
    assert len(told.said) == len(told.said_before) == ROWS
    assert set(told.said) == {"no", "yes"}


def test_the_same_rows_give_the_same_shares(asks: Any) -> None:
    one, other = (asks.ask(rows_of_the_log()) for _ in range(2))
    assert one.window.tolist() == other.window.tolist()


def test_a_first_version_has_none_before_it(asks: Any) -> None:
    asks.ask.record.version = 1
    told = asks.ask(rows_of_the_log())
    assert (told.before, list(told.said)) == (0, [])


def test_a_field_that_is_not_logged_whole_is_named(asks: Any) -> None:
    with pytest.raises(ConfigurationError, match="note, day: not logged whole"):
        asks.ask(rows_of_the_log(LogConfig(fields=("size", "town"))))


def test_columns_of_every_row_are_those_of_the_log() -> None:
    assert {one.name for one in OF_EVERY_ROW} <= set(rows_of_the_log().column_names)
