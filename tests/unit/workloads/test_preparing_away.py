"""A user's own preparation answers in a child, by the code that its version was made with; one that is not prepared as
it was is refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlratchet.infra.artifact.preparing import preparer_here, refuse_other_preparation
from mlratchet.infra.child.call import ForkedChildren
from mlratchet.models.artifact import prepared_example as kept
from mlratchet.models.artifact.files import PREPARED_EXAMPLE
from mlratchet.models.artifact.signature import Signature, signature_of
from mlratchet.models.config import WorkloadRef
from mlratchet.models.errors import ConfigurationError, SecurityError
from mlratchet.models.functions import KeptOutError
from mlratchet.models.ports.children import ForeignCodeError, install
from mlratchet.models.serving.refusal import BadRequestError
from mlratchet.models.serving.schema import rows_of
from mlratchet.models.sources.stored_examples import EXAMPLE, UNPREPARED
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.workloads.examples import preparer_of
from mlratchet.models.workloads.loading import load_workload
from mlratchet.models.workloads.prepared import fit_away, prepare_away

USE = "mlratchet.models.workloads.fields:SchemaWorkload"
SCHEMA = {
    "label": "bought",
    "fields": {
        "price": {"kind": "number"},
        "note": {"kind": "text"},
        "bought": {"kind": "category", "values": ["no", "yes"]},
    },
}
OWN = {"use": USE, "parameters": {
    "schema": SCHEMA, "preparation": {"own": {"money": {"use": "till_of_mine:Money", "fields": ["price"]}}},
}}  # fmt: skip
TILL = """
import numpy as np
from mlratchet.models.errors import DataError
from mlratchet.models.preparation.base import Preparation, State
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.tensors.spec import TensorSpec


class Money(Preparation):
    def fit(self, pieces):
        return State(document={"dearest": max(max(piece["price"].to_pylist()) for piece in pieces())})

    def apply(self, examples, state):
        prices = np.asarray(examples["price"].to_pylist())
        if (prices < 0).any():
            raise DataError("a price below 0")
        if (prices > 1e6).any():
            raise KeyError("nobody has that much")
        return Inputs({"money": (FACTOR * prices / state.document["dearest"]).astype(np.float32)})

    def tensors(self, state):
        return (TensorSpec(name="money", shape=(), dtype="float32"),)
"""
INSTANCES = [{"price": 5.0, "note": "a thing"}, {"price": 10.0, "note": "another"}]


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A process that may hold a key, in the user's folder."""
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    install(ForkedChildren(home=tmp_path / "home"))
    yield tmp_path
    install(None)


def stored(instances: list[dict[str, Any]]) -> Inputs:
    rows = [{EXAMPLE: np.frombuffer(json.dumps(one).encode(), dtype=np.uint8)} for one in instances]
    return Inputs.stack(rows, (UNPREPARED,))


def version(folder: Path, factor: int) -> tuple[Signature, Inputs]:
    """The signature of a version that was fitted with this text of the module, and its rows as they trained."""
    (folder / "till_of_mine.py").write_text(f"FACTOR = {factor}\n{TILL}")
    ref = WorkloadRef.model_validate(OWN)
    state, found = fit_away(ref, {"train": [lambda: stored(INSTANCES)]})
    parameters = {**ref.parameters, "fitted": base64.b64encode(state).decode()}
    made = signature_of(load_workload(USE, parameters))
    return Signature.from_json(made.to_json()), found["train"][0]


def test_each_version_answers_by_its_own_code_whatever_is_installed(away: Path) -> None:
    old, of_old = version(away, 1)
    new, of_new = version(away, 2)
    assert old.input != new.input
    np.testing.assert_array_equal(2 * of_old.columns["money"], of_new.columns["money"])
    (away / "till_of_mine.py").write_text("FACTOR = 0 / 0")
    for signature, expected in ((old, of_old), (new, of_new), (old, of_old)):  # the last: after a rollback
        preparer = preparer_here(signature, closed=(away / "home",))
        assert preparer is not None
        answered = rows_of(INSTANCES, signature, preparer=preparer)
        assert answered.arrays().keys() == expected.arrays().keys()
        for name, one in expected.arrays().items():
            np.testing.assert_array_equal(answered.arrays()[name], one)
        about = signature.input.example
        assert about is not None
        np.testing.assert_array_equal(
            prepare_away(about, stored(INSTANCES)).columns["money"], expected.columns["money"]
        )


def test_the_process_that_may_hold_a_key_imports_none_of_it(away: Path) -> None:
    signature, _ = version(away, 1)
    assert signature.input.example is not None
    with pytest.raises(KeptOutError):
        rows_of(INSTANCES, signature)


def test_an_example_that_it_refuses_is_the_client_s_fault_and_one_that_it_stumbles_over_is_not(away: Path) -> None:
    signature, _ = version(away, 1)
    preparer = preparer_here(signature, closed=(away / "home",))
    with pytest.raises(BadRequestError, match="a price below 0"):
        rows_of([{"price": -1.0, "note": "no"}], signature, preparer=preparer)
    with pytest.raises(ForeignCodeError, match="nobody has that much"):
        rows_of([{"price": 2e6, "note": "no"}], signature, preparer=preparer)
    assert len(rows_of(INSTANCES, signature, preparer=preparer)) == 2


def test_a_version_that_is_prepared_otherwise_is_refused_with_the_package_that_differs(
    away: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signature, rows = version(away, 1)
    about = signature.input.example
    assert about is not None
    preparer = preparer_here(signature, closed=(away / "home",))
    file = away / PREPARED_EXAMPLE
    file.write_bytes(kept.prepared_example(INSTANCES, rows, about))
    refuse_other_preparation(away, signature, "shop version 1", preparer)
    held = json.loads(file.read_bytes())
    assert {"numpy", "pyarrow", "tokenizers"} <= set(held["packages"])
    file.write_text(json.dumps({**held, "sha256": "0" * 64}))
    with pytest.raises(ConfigurationError, match="no package differs"):
        refuse_other_preparation(away, signature, "shop version 1", preparer)
    old = {**held["packages"], "tokenizers": "0.1"}
    file.write_text(json.dumps({**held, "sha256": "0" * 64, "packages": old}))
    with pytest.raises(ConfigurationError, match=r"shop version 1: .* other tensors .*tokenizers \S+ \(then 0.1\)"):
        refuse_other_preparation(away, signature, "shop version 1", preparer)
    file.write_text("{}")
    with pytest.raises(SecurityError, match="it was changed"):
        refuse_other_preparation(away, signature, "shop version 1", preparer)


def test_what_ratchet_ships_is_prepared_in_the_server_itself() -> None:
    ref = WorkloadRef.model_validate({"use": USE, "parameters": {"schema": SCHEMA}})
    state, _ = fit_away(ref, {"train": [lambda: stored(INSTANCES)]})
    signature = signature_of(load_workload(USE, {**ref.parameters, "fitted": base64.b64encode(state).decode()}))
    assert preparer_here(signature) is None
    about = signature.input.example
    assert about is not None
    assert rows_of(INSTANCES, signature, preparer=preparer_of(about)).names == ("numbers", "note")
