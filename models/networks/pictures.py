"""Networks over pictures: a small CNN, ResNet-18 and a small vision transformer, written here without their packages.

GroupNorm and LayerNorm alone: a row's answer does not depend on the rows beside it.
Shape legend: B rows, K channels, H height, W width, D features.
"""

from __future__ import annotations

import torch
from mlratchet.models.networks.encoders import Encoder
from mlratchet.models.networks.padded import SelfAttention
from torch import nn
from torch.nn import functional

PICTURES = ("cnn", "resnet18", "vit_tiny")


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(min(8, width // 4), width)


class SmallPictureCnn(Encoder):
    """Three stages of two convolutions, each stage twice as wide and half as high as the one before."""

    def __init__(self, name: str, *, channels: int, width: int = 24, dropout: float) -> None:
        super().__init__([name], width * 4)
        stages: list[nn.Module] = []
        before = channels
        for number in range(3):
            now = width * 2**number
            stages += [
                nn.Conv2d(before, now, 3, padding=1), _norm(now), nn.ReLU(),
                nn.Conv2d(now, now, 3, padding=1), _norm(now), nn.ReLU(),
                nn.MaxPool2d(2, ceil_mode=True), nn.Dropout2d(dropout),
            ]  # fmt: skip
            before = now
        self.stages = nn.Sequential(*stages)

    def forward(self, x_BKHW: torch.Tensor) -> torch.Tensor:
        """(B, D)."""
        features: torch.Tensor = self.stages(x_BKHW).mean(dim=(2, 3))
        return features


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside the identity (He et al. 2016), GroupNorm instead of BatchNorm."""

    def __init__(self, before: int, width: int, *, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=False), _norm(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False), _norm(width),
        )  # fmt: skip
        same = stride == 1 and before == width
        self.skip = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(before, width, 1, stride=stride, bias=False), _norm(width))
        )

    def forward(self, x_BKHW: torch.Tensor) -> torch.Tensor:
        """(B, width, H / stride, W / stride)."""
        return functional.relu(self.body(x_BKHW) + self.skip(x_BKHW))


class ResNet18(Encoder):
    """Four stages of two residual blocks; pictures of up to 64 pixels keep their size in the first layer."""

    def __init__(self, name: str, *, channels: int, height: int, width: int = 64) -> None:
        super().__init__([name], width * 8)
        kernel, stride = (3, 1) if height <= 64 else (7, 2)
        enter = nn.Conv2d(channels, width, kernel, stride=stride, padding=kernel // 2, bias=False)
        smaller = nn.Identity() if height <= 64 else nn.MaxPool2d(3, stride=2, padding=1)
        self.stem = nn.Sequential(enter, _norm(width), nn.ReLU(), smaller)
        blocks, before = list[nn.Module](), width
        for number in range(4):
            now = width * 2**number
            blocks += [ResidualBlock(before, now, stride=1 if number == 0 else 2), ResidualBlock(now, now, stride=1)]
            before = now
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x_BKHW: torch.Tensor) -> torch.Tensor:
        """(B, D)."""
        features: torch.Tensor = self.blocks(self.stem(x_BKHW)).mean(dim=(2, 3))
        return features


class VisionTransformer(Encoder):
    """Patches as steps of a transformer (Dosovitskiy et al. 2021), their places learnt, their mean as the answer."""

    def __init__(
        self, name: str, *, channels: int, height: int, width: int, patch: int, features: int = 96, depth: int = 4,
        dropout: float = 0.1,
    ) -> None:  # fmt: skip
        super().__init__([name], features)
        if height % patch or width % patch:
            raise ValueError(f"patch {patch} does not divide a picture of {height} x {width}")
        self.patches = nn.Conv2d(channels, features, patch, stride=patch)
        count = (height // patch) * (width // patch)
        self.place = nn.Parameter(torch.randn(1, count, features) * 0.02)
        self.blocks = nn.ModuleList(SelfAttention(features, heads=4, dropout=dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(features)

    def forward(self, x_BKHW: torch.Tensor) -> torch.Tensor:
        """(B, D)."""
        x_BTD = self.patches(x_BKHW).flatten(2).transpose(1, 2) + self.place
        known_BT = torch.ones(x_BTD.shape[:2], dtype=torch.bool, device=x_BTD.device)
        for block in self.blocks:
            x_BTD = block(x_BTD, known_BT)
        features: torch.Tensor = self.norm(x_BTD).mean(dim=1)
        return features


def picture_encoder(name: str, kind: str, shape: tuple[int, ...], *, dropout: float, width: int = 24) -> Encoder:
    """Of a picture (K, H, W); `width`: channels of the first stage of `cnn`.

    Raises ``ValueError`` for a kind that there is not.
    """
    channels, height, columns = shape
    if kind == "cnn":
        return SmallPictureCnn(name, channels=channels, width=width, dropout=dropout)
    if kind == "resnet18":
        return ResNet18(name, channels=channels, height=height)
    if kind == "vit_tiny":
        patch = next((size for size in (4, 7, 8, 5, 3, 2) if height % size == 0 and columns % size == 0), 1)
        patch = 16 if height >= 128 and height % 16 == 0 and columns % 16 == 0 else patch
        return VisionTransformer(name, channels=channels, height=height, width=columns, patch=patch, dropout=dropout)
    raise ValueError(f"model must be one of {', '.join(PICTURES)} for pictures, got {kind!r}")
