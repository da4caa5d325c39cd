"""How Arrow keeps the memory of tables that are made and forgotten one after the other."""

from __future__ import annotations

from functools import cache

HASTY, PATIENT = "mimalloc", "jemalloc"


@cache
def keep_freed_memory() -> None:
    """For this process and its forks. Mimalloc, Arrow's own choice, gives freed pages back at once and asks for
    them again for the next table: a third of what it takes to read a delivery. Jemalloc does so a second later. Where
    there is no jemalloc, or somebody has chosen another one, nothing changes."""
    import pyarrow as pa

    if pa.default_memory_pool().backend_name == HASTY and PATIENT in pa.supported_memory_backends():
        pa.set_memory_pool(pa.jemalloc_memory_pool())
