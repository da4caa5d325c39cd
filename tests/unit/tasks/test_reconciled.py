"""What `ratchet reconcile` cannot repair keeps it from nothing else."""

from __future__ import annotations

import httpx
import pytest
from mlratchet.models.errors import InfrastructureError, SecurityError
from mlratchet.tasks.actions.reconcile import Reconciled


def test_a_server_that_is_away_keeps_it_from_no_other_repair() -> None:
    done = Reconciled()

    def prefect_is_away() -> list[str]:
        raise httpx.ConnectError("All connection attempts failed", request=httpx.Request("POST", "http://x:1/api/y"))

    def changed() -> list[str]:
        raise SecurityError("p: the ledger was changed")

    for repair in (prefect_is_away, prefect_is_away, changed, lambda: ["spools replayed"]):
        done.attempt(repair)
    assert done.repaired == ["spools replayed"]
    with pytest.raises(SecurityError, match=r"^p: the ledger was changed; POST http://x:1/api/y: connection refused; "):
        done.raise_worst()
    assert [type(one) for one in done.problems] == [InfrastructureError, SecurityError]
