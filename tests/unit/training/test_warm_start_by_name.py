"""A warm start takes the head of a class, and the weights of a column, by name."""

from __future__ import annotations

import torch
from mlratchet.models.training.named_tensors import column_tensors, head_tensors
from mlratchet.models.training.warm_start import Axis, match_tensors
from torch import nn


def network(columns: int, classes: int, hidden: int) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(columns, hidden), nn.ReLU(), nn.Dropout(0.5), nn.Linear(hidden, classes))


def test_heads_and_first_layers_are_found_though_every_layer_has_the_same_size() -> None:
    module, x = network(3, 3, 3), torch.randn(16, 3)
    module.train()
    assert head_tensors(module, x, 3) == {"3.weight", "3.bias"}
    assert column_tensors(module, x, 3) == {"0.weight"}
    assert module.training
    assert all(p.grad is None for p in module.parameters())


def test_a_model_whose_inputs_are_normalised_together_has_no_first_layer_by_column() -> None:
    module = nn.Sequential(nn.LayerNorm(3), nn.Linear(3, 2))
    assert column_tensors(module, torch.randn(16, 3), 3) == set()


def test_classes_and_columns_in_another_order_give_the_same_answers() -> None:
    parent, child = network(3, 3, 8), network(3, 3, 8)
    x = torch.randn(16, 3)
    axes = [
        Axis(
            ours=("high", "low", "mid"),
            theirs=("low", "mid", "high"),
            dim=0,
            tensors=frozenset(head_tensors(child, x, 3)),
        ),
        Axis(ours=("c", "a", "b"), theirs=("a", "b", "c"), dim=1, tensors=frozenset(column_tensors(child, x, 3))),
    ]
    merged, report = match_tensors(child.state_dict(), parent.state_dict(), axes)
    child.load_state_dict(merged)
    assert report.reshaped == report.new == ()
    ours, theirs = child.eval()(x[:, [2, 0, 1]]), parent.eval()(x)
    assert torch.allclose(ours, theirs[:, [2, 0, 1]], atol=1e-6)


def test_a_new_class_and_a_new_column_keep_fresh_values_and_old_ones_their_own() -> None:
    parent, child = network(2, 2, 8), network(3, 3, 8)
    x = torch.randn(16, 3)
    axes = [
        Axis(ours=("new", "no", "yes"), theirs=("no", "yes"), dim=0, tensors=frozenset({"3.weight", "3.bias"})),
        Axis(ours=("a", "extra", "b"), theirs=("a", "b"), dim=1, tensors=frozenset(column_tensors(child, x, 3))),
    ]
    merged, report = match_tensors(child.state_dict(), parent.state_dict(), axes)
    assert set(report.reshaped) == {"0.weight", "3.weight", "3.bias"}
    before, fresh = parent.state_dict(), child.state_dict()
    assert torch.equal(merged["3.weight"][1:], before["3.weight"])
    assert torch.equal(merged["3.weight"][0], fresh["3.weight"][0])
    assert torch.equal(merged["0.weight"][:, [0, 2]], before["0.weight"])
    assert torch.equal(merged["0.weight"][:, 1], fresh["0.weight"][:, 1])
