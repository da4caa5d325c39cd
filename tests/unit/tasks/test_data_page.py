"""Which dataset a person means by `ratchet data`, and the page that a run leaves of its data."""

from __future__ import annotations

from typing import Any

import pytest
from mlratchet.models.destination import DATA_PAGE
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.pipeline.store import publish_deployment, publish_pipeline
from mlratchet.tasks.actions.data import differ, find_dataset, look
from mlratchet.tasks.showing.data_page import show_data

from .conftest import Road


@pytest.fixture
def deployed(road: Road) -> tuple[Any, Any]:
    """A run whose pipeline is deployed, and its dataset."""
    run = road.run()
    dataset = road.dataset(run)
    revision = publish_pipeline(road.store, run.spec)
    publish_deployment(road.store, "table", revision, actor="test", at_s=1.0)
    return run, dataset


def test_the_newest_dataset_is_that_of_the_newest_reading(road: Road, deployed: tuple[Any, Any]) -> None:
    run, dataset = deployed
    road.store.put("rejects/table.json", f'{{"dataset": "{dataset.id}"}}'.encode())
    found = find_dataset(run.adapters, "table")
    assert found.manifest.id == dataset.id
    profile = look(run.adapters, found)
    assert (sum(profile.rows.values()), [one.name for one in profile.fields]) == (400, ["a", "b", "c", "region"])


def test_a_dataset_is_named_by_the_beginning_of_its_id_or_of_its_snapshots(
    road: Road, deployed: tuple[Any, Any]
) -> None:
    run, dataset = deployed
    assert find_dataset(run.adapters, "table", dataset.id[:8]).manifest.id == dataset.id
    assert find_dataset(run.adapters, "table", dataset.snapshot_id[:8]).manifest.id == dataset.id
    same = find_dataset(run.adapters, "table", dataset.id[:8])
    assert differ(run.adapters, same, same).same == 400


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("abc", "expected `newest`, `champion`, the number of a version, or 6 to 64 digits"),
        ("ffffffffff", "no dataset of this id, or of a snapshot of it"),
        ("champion", "table has no champion; `ratchet data table` shows the newest"),
        ("newest", "table has no dataset yet; `ratchet run table` makes it"),
    ],
)
def test_what_is_no_dataset_is_told_with_what_to_do(
    road: Road, deployed: tuple[Any, Any], what: str, words: str
) -> None:
    run, _ = deployed
    run.adapters.settings = type("Settings", (), {"pipelines_dir": road.scratch})
    with pytest.raises(ConfigurationError, match=words):
        find_dataset(run.adapters, "table", what)


def test_a_run_leaves_the_page_of_its_data(road: Road, deployed: tuple[Any, Any]) -> None:
    run, dataset = deployed
    run.reading = "400 read, 400 used, 0 set aside"
    show_data(run, dataset)
    page = run.pages[DATA_PAGE].decode()
    assert "table: what the data holds" in page
    assert run.reading in page


def test_a_page_that_cannot_be_made_stops_no_run(
    road: Road, deployed: tuple[Any, Any], caplog: pytest.LogCaptureFixture
) -> None:
    run, dataset = deployed
    show_data(run, dataset.model_copy(update={"splits": {"train": dataset.splits["train"], "test": (None,)}}))
    assert run.pages == {}
    assert "no page of the data" in caplog.text
