"""A resume is exact whatever keeps state: parameter groups, buffers, numbers of any kind; or it is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.fault_points import InjectedFault, arm
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.training.checkpoint import newest_checkpoint
from mlratchet.models.training.optimizer_state import optimizer_document, optimizer_tensors, restore_optimizer
from mlratchet.models.training.result import TrainResult
from torch import nn

from tests.unit.training.test_loop import dataset, train

__all__ = ["dataset", "train"]  # fixtures
Train = Callable[..., TrainResult]


class Counting(torch.optim.Optimizer):
    """A step size that falls with the number of steps, counted in the parameter group."""

    def __init__(self, groups: Any, rate: float) -> None:
        super().__init__(groups, {"lr": rate, "k": 0, "rates": (), "peak": torch.tensor(0.0)})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # no loss is asked for
        for group in self.param_groups:
            group["k"] += 1
            group["rates"] = (*group["rates"][-3:], group["lr"])
            group["peak"] = torch.maximum(group["peak"], torch.tensor(sum(group["rates"])))
            for parameter in group["params"]:
                state = self.state[parameter]
                state.setdefault("seen", 0.0)
                state.setdefault("sum64", torch.zeros(parameter.shape, dtype=torch.float64))
                state["seen"] += float(parameter.grad.abs().sum()) * math.pi
                state["sum64"] += parameter.grad
                rate = float(group["peak"]) / (group["k"] ** 0.5 * (1 + state["seen"] * 1e-3))
                parameter.data.add_(parameter.grad + 1e-3 * state["sum64"].float(), alpha=-rate)


def counting(groups: Any, rate: float, decay: float) -> torch.optim.Optimizer:
    return Counting(groups, rate)


def nadam(groups: Any, rate: float, decay: float) -> torch.optim.Optimizer:
    return torch.optim.NAdam(groups, lr=rate)


def asgd(groups: Any, rate: float, decay: float) -> torch.optim.Optimizer:
    return torch.optim.ASGD(groups, lr=rate)


def rprop(groups: Any, rate: float, decay: float) -> torch.optim.Optimizer:
    return torch.optim.Rprop(groups, lr=rate)


@pytest.mark.parametrize("mode", ["exact", "fast"])
@pytest.mark.parametrize("factory", ["counting", "nadam", "asgd", "rprop"])
def test_what_an_optimizer_keeps_in_its_groups_and_state_resumes_exactly(
    train: Train, store: MemoryStore, factory: str, mode: str
) -> None:
    options = {"optimizer": {"factory": f"{__name__}:{factory}", "learning_rate": 0.05}, "mode": mode}
    whole = train(work_key="whole", **options)
    arm("checkpoint.after_marker", "raise")
    with pytest.raises(InjectedFault):
        train(work_key="cut", **options)
    assert newest_checkpoint(store, "cut", up_to_epoch=1) is not None
    resumed = train(work_key="cut", epoch=2, **options)
    assert resumed.resumed_from_step > 0
    assert resumed.weights_sha256 == whole.weights_sha256


class Holding(torch.optim.Optimizer):
    """Keeps whatever it is given."""

    def __init__(self, parameters: Any, kept: Any) -> None:
        super().__init__(parameters, {"lr": 0.1, "kept": kept})


PLAIN = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from([np.float32(0.1), np.int64(7), np.bool_(True)])
)  # fmt: skip
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple)
    | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(VALUES)
def test_any_plain_value_comes_back_with_its_type_and_to_the_last_bit(kept: Any) -> None:
    first, second = (Holding([nn.Parameter(torch.zeros(2))], value) for value in (kept, None))
    document = json.loads(canonical_json(optimizer_document(first)))
    restore_optimizer(second, optimizer_tensors(first), document)
    assert repr(second.param_groups[0]["kept"]) == repr(kept)  # NaN is not equal to itself


def test_tensors_arrays_and_generators_come_back() -> None:
    generator = torch.Generator().manual_seed(3)
    kept = {"t": torch.arange(3.0, dtype=torch.float64), "a": np.arange(4), "g": generator}
    first, second = (Holding([nn.Parameter(torch.zeros(2))], value) for value in (kept, None))
    restore_optimizer(second, optimizer_tensors(first), optimizer_document(first))
    found = second.param_groups[0]["kept"]
    assert torch.equal(found["t"], kept["t"])
    assert found["t"].dtype == torch.float64
    assert np.array_equal(found["a"], kept["a"])
    assert torch.equal(torch.rand(4, generator=found["g"]), torch.rand(4, generator=generator))


def test_what_no_checkpoint_can_hold_is_refused_with_its_place() -> None:
    made = Holding([nn.Parameter(torch.zeros(2))], [1, {"rule": object()}])
    with pytest.raises(ConfigurationError, match=r"param_groups\.0\.kept\.1\.rule is a object"):
        optimizer_document(made)
