"""One attempt at a time may write: the newest epoch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.identity.claim import is_current, read_claims, take_claim


def test_every_attempt_takes_the_next_epoch_and_ends_the_right_of_the_one_before(store: MemoryStore) -> None:
    first = take_claim(store, "w", parent_version=1, owner="a", now_s=1.0)
    assert (first.epoch, is_current(store, first)) == (1, True)
    second = take_claim(store, "w", parent_version=9, owner="b", now_s=2.0)
    assert second.epoch == 2
    assert not is_current(store, first)
    assert is_current(store, second)


def test_the_parent_is_chosen_by_the_first_claim(store: MemoryStore) -> None:
    take_claim(store, "w", parent_version=None, owner="a", now_s=1.0)
    assert take_claim(store, "w", parent_version=4, owner="b", now_s=2.0).parent_version is None
    assert take_claim(store, "v", parent_version=4, owner="b", now_s=2.0).parent_version == 4


def test_sixteen_attempts_at_once_take_sixteen_epochs(store: MemoryStore) -> None:
    with ThreadPoolExecutor(16) as pool:
        claims = list(
            pool.map(lambda i: take_claim(store, "w", parent_version=None, owner=str(i), now_s=0.0), range(16))
        )
    assert sorted(claim.epoch for claim in claims) == list(range(1, 17))
    assert [claim.epoch for claim in read_claims(store, "w")] == list(range(1, 17))
    assert sum(is_current(store, claim) for claim in claims) == 1
