"""The memory of tables that are read one after the other is kept for the next one."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest
from mlratchet.models.data.records import Sorter
from mlratchet.models.sources.arrow_memory import HASTY, PATIENT, keep_freed_memory

pytestmark = pytest.mark.skipif(
    not {HASTY, PATIENT} <= set(pa.supported_memory_backends()), reason="this pyarrow was built without one of them"
)


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    before = pa.default_memory_pool()
    keep_freed_memory.cache_clear()
    yield
    pa.set_memory_pool(before)
    keep_freed_memory.cache_clear()


def test_who_sorts_a_delivery_keeps_what_is_freed() -> None:
    pa.set_memory_pool(pa.mimalloc_memory_pool())
    Sorter()
    assert pa.default_memory_pool().backend_name == PATIENT


def test_what_somebody_chose_stays() -> None:
    pa.set_memory_pool(pa.system_memory_pool())
    keep_freed_memory()
    assert pa.default_memory_pool().backend_name == "system"
