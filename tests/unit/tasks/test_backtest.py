"""The evidence of then, as it would have been with the champions of another history."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlratchet.models.backtest.simulate import Past
from mlratchet.models.decisions.stored_evidence import Basis
from mlratchet.models.gates.evidence import AttributionShift, Evidence
from mlratchet.models.gates.policy import GatePolicy
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.tasks.actions.backtest import Court, KeptGate

ROWS = RowOutputs(ids=["r"], y=np.zeros(1), output=np.zeros(1))
BASIS = Basis(gate="champion", first_model=False, task="regression", class_names=(), now_s=0.0)
ABSOLUTE = {"kind": "absolute", "metric": "mae", "maximum": 1.0}
POLICY = GatePolicy.model_validate(
    {
        "data": [{"kind": "data", "measure": "rows", "minimum": 1}],
        "candidate": [ABSOLUTE],
        "staging": [{"kind": "size", "maximum_megabytes": 1}],
        "champion": [ABSOLUTE, {"kind": "attribution", "maximum_shift": 0.5}],
    }
)


@pytest.mark.parametrize(("serving", "verdict"), [(1, "pass"), (2, "inconclusive")])
def test_a_shift_against_another_champion_is_no_evidence(tmp_path: Path, serving: int, verdict: str) -> None:
    adapters: Any = None
    court = Court(adapters, POLICY, [], tmp_path, lambda _done, _total: None)
    then = Evidence(version=3, candidate=ROWS, champion=ROWS, attribution_shift=AttributionShift(value=0.1, n=9))
    past, champion = (Past(version=n, work_key=f"w{n}", registered_s=float(n)) for n in (3, serving))
    court._kept["w3"] = {"champion": KeptGate(evidence=then, basis=BASIS, champion_version=1)}
    court._scored[serving, "d"] = ROWS
    court._records = {3: type("Record", (), {"dataset_id": "d"})}  # type: ignore[dict-item]  # all that is asked of it
    result = next(c for c in court.judge("champion", past, [champion]).checks if c.kind == "attribution")
    assert result.verdict == verdict
    assert verdict == "pass" or "another champion" in result.reason
