"""The built-in image network."""

from __future__ import annotations

import pytest
import torch
from mlratchet.models.workloads.vision import MaxPoolTo, SmallCNN
from torch import nn


@pytest.mark.parametrize(("height", "width"), [(4, 4), (8, 8), (9, 7), (5, 32), (33, 16)])
def test_the_pooling_has_the_windows_of_torchs_adaptive_one(height: int, width: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 2, height, width, requires_grad=True)
    ours, theirs = MaxPoolTo(4)(x), nn.AdaptiveMaxPool2d(4)(x)
    assert torch.equal(ours, theirs)
    toward = torch.randn_like(theirs)
    assert torch.allclose(
        torch.autograd.grad(ours, x, toward, retain_graph=True)[0], torch.autograd.grad(theirs, x, toward)[0]
    )


def test_nothing_in_it_lacks_a_deterministic_gradient_on_a_gpu() -> None:
    """As torch documents them in `torch.use_deterministic_algorithms`."""
    throwing = (nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool2d, nn.FractionalMaxPool2d, nn.ReflectionPad2d, nn.Upsample)
    made = SmallCNN(channels=1, num_classes=10, base_width=8, blocks=3, dropout=0.1)
    assert [name for name, module in made.named_modules() if isinstance(module, throwing)] == []
