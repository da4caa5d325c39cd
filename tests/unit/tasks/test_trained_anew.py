"""A delivery whose rows are prepared already is read again as it was, where it has to be trained on anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.infra.child.keep_out import keep_users_code_out
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.infra.ledger.objects import ObjectLedger
from mlratchet.infra.registry.memory import MemoryRegistry
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.pipeline.loading import read_pipeline
from mlratchet.models.ports.children import install
from mlratchet.tasks.steps.ingest import ingest
from mlratchet.tasks.steps.preprocess import preprocess
from mlratchet.tasks.steps.recognise import recognise
from mlratchet.tasks.steps.validate import validate
from mlratchet.tasks.wiring import Run

PIPELINE = """
name: shop
source: {prefix: shop/, format: csv}
schema:
  label: sold
  fields:
    price: {kind: number}
    colour: {kind: category}
    sold: {kind: category, values: ["no", "yes"]}
gates:
  data:
    - {kind: data, measure: rows, minimum: 30}
  candidate:
    - {kind: absolute, metric: accuracy, minimum: 0.6}
  staging:
    - {kind: parity, maximum_difference: 0.001}
  champion:
    - {kind: absolute, metric: accuracy, minimum: 0.6}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_pages: None) -> Iterator[Path]:
    """Of a process that may hold the key: what a delivery holds is decoded in a child."""
    monkeypatch.chdir(tmp_path)
    found = tmp_path / ".ratchet"
    found.mkdir()
    (found / "stack.env").write_text(
        "RATCHET_S3_ACCESS_KEY=a\nRATCHET_S3_SECRET_KEY=b\nRATCHET_MLFLOW_TRACKING_URI=x\nRATCHET_PREFECT_API_URL=x\n"
    )
    keep_users_code_out(found)
    yield found
    install(None)


def test_rows_that_are_prepared_already_are_read_as_they_were(home: Path, tmp_path: Path) -> None:
    """The same delivery under other settings of the training: a run of `--set train.seed=8`, or of a finding."""
    (tmp_path / "shop.yaml").write_text(PIPELINE)
    raw, keys = MemoryStore("raw"), MemoryKeys()
    store = RecordStore(MemoryStore("store"), keys)
    rows = [f"{n % 7}.5,{'red' if n % 2 else 'blue'}{n % 3},{'yes' if n % 7 > 3 else 'no'}" for n in range(200)]
    raw.put("shop/a.csv", "\n".join(["price,colour,sold", *rows]).encode())
    adapters: Any = SimpleNamespace(
        store=store, raw=raw, keys=keys, ledger=ObjectLedger(store, keys), registry=MemoryRegistry(),
        launcher=SimpleNamespace(processes=lambda _train: 1), settings=SimpleNamespace(home=home),
    )  # fmt: skip
    spec = read_pipeline(tmp_path / "shop.yaml")
    counts, datasets = [], []
    for number in range(2):
        run = Run(spec, adapters, run_id=f"r{number}", actor="test")
        try:
            snapshot = ingest.fn(run)
            work = recognise.fn(run, snapshot)
            checked = validate.fn(run, snapshot, work)
            counts.append((len(checked.records), [one.reason for one in checked.rejects]))
            datasets.append(preprocess.fn(run, work, snapshot, checked).id)
            assert [spec.name for spec in run.workload.tensors()] != ["example"], "it trains on what was prepared"
        finally:
            run.close(failed=False)
    assert counts[1] == counts[0]
    assert counts[0][0] > 30
    assert datasets[1] == datasets[0]
