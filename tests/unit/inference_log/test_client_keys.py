"""Whoever is forgotten by the key that their client sends is found in the log, however the client wrote it."""

from __future__ import annotations

import unicodedata

import pytest
from mlratchet.models.inference_log.client_keys import KEY_CHARACTERS, forms_of, kept_key
from mlratchet.models.serving.asked import CLIENT_KEY, REQUEST_KEY, Asked, read_already
from mlratchet.tasks.support.person_in_log import PersonInLog

from tests.unit.inference_log.logs import Log

LONG = "k" * KEY_CHARACTERS
WROTE = {
    "as UTF-8": "Müller".encode(),
    "as Latin-1": "Müller".encode("latin-1"),
    "decomposed": unicodedata.normalize("NFD", "Müller").encode(),
}


def asked(headers: list[tuple[bytes, bytes]]) -> Asked:
    return Asked({"headers": headers}, read_already, "the-request")


@pytest.mark.parametrize("wrote", WROTE)
@pytest.mark.parametrize("key", ["Müller", " Müller ", unicodedata.normalize("NFD", "Müller")])
def test_a_client_is_found_by_the_key_that_it_sent(wrote: str, key: str) -> None:
    log = Log()
    kept = asked([(CLIENT_KEY, WROTE[wrote])]).client_key
    log.write([{"received_s": 1.0, "client_key": kept}, {"received_s": 2.0, "client_key": "Mueller"}])
    person = PersonInLog(log.store, log.keys, log.pipeline, key, [], now_s=5.0)
    assert person.rows == 1
    person.erase()
    assert PersonInLog(log.store, log.keys, log.pipeline, key, [], now_s=6.0).rows == 0


@pytest.mark.parametrize("key", ["Müller", "Ж" * 150, "é" * 200])
def test_rows_of_an_earlier_release_are_found_too(key: str) -> None:
    log = Log()
    log.write([{"received_s": 1.0, "client_key": key.encode().decode("latin-1")[:KEY_CHARACTERS]}])
    assert PersonInLog(log.store, log.keys, log.pipeline, key, [], now_s=5.0).rows == 1


def test_clients_whose_long_keys_begin_alike_are_two() -> None:
    log, keys = Log(), [f"{LONG}a", f"{LONG}b"]
    kept = [asked([(CLIENT_KEY, one.encode())]).client_key for one in keys]
    log.write([{"received_s": float(at), "client_key": one} for at, one in enumerate(kept, 1)])
    assert {len(one or "") for one in kept} == {KEY_CHARACTERS}
    assert [PersonInLog(log.store, log.keys, log.pipeline, one, [], now_s=5.0).rows for one in keys] == [1, 1]


def test_requests_of_long_keys_that_begin_alike_are_not_all_answered_by_one_variant() -> None:
    tokens = [f"{LONG}{at}".encode() for at in range(3)]
    assert len({asked([(REQUEST_KEY, one)]).request_key for one in tokens}) == 3
    assert len({asked([(CLIENT_KEY, one)]).request_key for one in tokens}) == 3


@pytest.mark.parametrize("key", ["c1", LONG, "7", "a b"])
def test_an_ordinary_key_is_kept_as_it_is(key: str) -> None:
    assert kept_key(key.encode()) == key
    assert forms_of(key) == (key,)


def test_an_empty_key_is_none() -> None:
    nobody = asked([(CLIENT_KEY, b""), (REQUEST_KEY, b"")])
    assert (nobody.client_key, nobody.request_key) == (None, "the-request")
