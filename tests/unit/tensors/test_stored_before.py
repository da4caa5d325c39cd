"""What was stored before tensors had names: its shards are rows of one input, and its programs answer them as then."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import pytest
from mlratchet.infra.artifact.exported import load_exported
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.data.dataset import load_dataset
from mlratchet.models.data.shards import load_split, write_split
from mlratchet.models.evaluation.score import score
from mlratchet.models.metrics.rows import load_rows
from mlratchet.models.registration.record import Registration, list_registrations
from mlratchet.models.serving.contract import contract_requests, replay
from mlratchet.models.serving.predictor import Predictor

from tests.fixtures.stored_bucket import BUCKET_9309F01, StoredBucket


@pytest.fixture(scope="module")
def stored() -> StoredBucket:
    return StoredBucket(BUCKET_9309F01)


@pytest.fixture(scope="module")
def record(stored: StoredBucket) -> Registration:
    return list_registrations(stored.store)["sites"][-1]


def test_shards_hold_one_input_and_are_written_again_byte_by_byte(stored: StoredBucket, record: Registration) -> None:
    manifest = load_dataset(stored.store, record.dataset_id)
    for side, refs in manifest.splits.items():
        rows = load_split(stored.store, manifest, side)
        assert rows.x.names == ("x",)
        assert rows.x.is_one
        assert write_split(stored.store, rows, rows_per_shard=refs[0].rows) == refs


def test_a_stored_program_answers_as_it_did(stored: StoredBucket, record: Registration) -> None:
    location = urlparse(record.source_uri)
    directory = Path(stored.folder) / "buckets" / location.netloc / location.path.strip("/")
    text = (directory / "signature.json").read_text()
    signature = Signature.from_json(text)
    assert [spec.name for spec in signature.tensors] == ["x"]
    assert signature.input.tensors == ()
    program = load_exported(directory)
    rows = load_split(stored.store, load_dataset(stored.store, record.dataset_id), "test")
    then, now = load_rows(stored.store, record.rows_key), score(program, rows)
    assert now.ids == then.ids
    np.testing.assert_allclose(now.output, then.output, atol=1e-5)
    predictor = Predictor(version=record.version, generation=1, signature=signature, model=program)
    assert replay(predictor, contract_requests(signature, rows.x, now.output)) == []
