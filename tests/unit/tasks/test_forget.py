"""Forgetting a client erases its rows, their labels and pictures; tidying lets go what is over its time."""

from __future__ import annotations

import pytest
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.inference_log.reading import read_log
from mlratchet.tasks.actions.forget import forget

from tests.unit.inference_log.logs import Log


def test_rows_and_labels_of_one_client_go_and_documents_that_name_them_are_told() -> None:
    log = Log()
    log.write(
        [{"received_s": 1.0, "request_id": "aa11", "client_key": "ada"}, {"received_s": 2.0, "client_key": "bob"}]
    )
    log.feedback([("aa11", 0, "yes", 3.0), ("other", 0, "no", 3.0)])
    log.store.put("findings/plant/f.json", b'{"worst": "aa11"}')

    found = forget(log.store, log.keys, "plant", "ada", now_s=1e9)

    assert (found.answers.rows, found.feedback.rows, found.named_in) == (1, 1, ("findings/plant/f.json",))
    assert read_log(log.store, log.keys, "plant", since_s=0, until_s=9e9).table["client_key"].to_pylist() == ["bob"]
    labels = read_log(log.store, log.keys, "plant", since_s=0, until_s=9e9, holds="feedback")
    assert labels.table["request_id"].to_pylist() == ["other"]


def test_a_client_that_never_asked_leaves_the_log_as_it_is() -> None:
    log = Log()
    log.write([{"received_s": 1.0, "client_key": "bob"}])
    before = {info.key: info.etag for info in log.store.list("")}

    found = forget(log.store, log.keys, "plant", "ada", now_s=1e9)

    assert found.answers.rows == 0
    assert {info.key: info.etag for info in log.store.list("")} == before


def test_without_a_log_it_says_so() -> None:
    log = Log()
    with pytest.raises(ConfigurationError, match="no inference log"):
        forget(log.store, log.keys, "plant", "ada")
