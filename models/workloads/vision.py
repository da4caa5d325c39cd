"""Images with one label each.

Shape legend: B rows, C classes, H height, W width, K channels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.objectives.base import Task
from mlratchet.models.sources.base import Example
from mlratchet.models.sources.decoding import UnreadableImageError, decode_picture
from mlratchet.models.sources.image_folder import ImageFolder
from mlratchet.models.sources.images import Images
from mlratchet.models.sources.raw_cells import DIGITS
from mlratchet.models.sources.record import Decoding, InputSpec, RawObject, Record, Reject
from mlratchet.models.workloads.base import Workload
from PIL import ImageColor
from torch import nn
from torch.nn import functional

READERS = 16  # threads that fetch and decode
MOST_PIXELS = 178_956_970  # that Pillow opens at all


class MaxPoolTo(nn.Module):
    """Maxima over a grid of `size` x `size` windows, as `nn.AdaptiveMaxPool2d` lays them: window i begins at
    floor(i H / size) and ends before ceil((i + 1) H / size). The gradient of that module has no deterministic kernel on
    CUDA, so mode `exact` would refuse it there; this has one everywhere."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x_BKHW: torch.Tensor) -> torch.Tensor:
        """(B, K, size, size)."""
        size, (height, width) = self.size, x_BKHW.shape[-2:]
        if height % size == 0 and width % size == 0:
            return functional.max_pool2d(x_BKHW, (height // size, width // size))
        rows = [x_BKHW[..., a:b, :].amax(dim=-2) for a, b in _windows(height, size)]
        x_BKSW = torch.stack(rows, dim=-2)
        return torch.stack([x_BKSW[..., a:b].amax(dim=-1) for a, b in _windows(width, size)], dim=-1)


def _windows(length: int, size: int) -> list[tuple[int, int]]:
    return [(i * length // size, -(-(i + 1) * length // size)) for i in range(size)]


class SmallCNN(nn.Module):
    """Convolution blocks with GroupNorm, each twice as wide as the one before, and a linear head; takes (B, K, H, W)
    in 0..1, gives (B, C)."""

    def __init__(
        self, *, channels: int, num_classes: int, base_width: int, blocks: int = 2, dropout: float = 0.0
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = channels
        for width in (base_width * 2**block for block in range(blocks)):
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.GroupNorm(4, width), nn.ReLU()]
            before = width
        self.features = nn.Sequential(*layers, MaxPoolTo(4))
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.head = nn.Linear(before * 16, num_classes)

    def forward(self, x_BKHW: torch.Tensor) -> torch.Tensor:
        """Logits (B, C)."""
        features = self.features((x_BKHW - 0.5) / 0.5)
        logits: torch.Tensor = self.head(self.dropout(features.flatten(1)))
        return logits


def decoding_of(background: str, value_range: Sequence[float] | None, max_pixels: int) -> Decoding:
    """As a pipeline file declares it. Raises ``ValueError`` saying what was expected."""
    try:
        ImageColor.getrgb(background)
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"background must be a colour such as white or '#ffffff', got {background!r}") from error
    if value_range is not None and (len(value_range) != 2 or not value_range[0] < value_range[1]):
        raise ValueError(f"value_range must be [black, white] with black < white, got {value_range}")
    if not 1 <= max_pixels <= MOST_PIXELS:
        raise ValueError(f"max_pixels must be 1 to {MOST_PIXELS}, got {max_pixels}")
    span = (float(value_range[0]), float(value_range[1])) if value_range is not None else None
    return Decoding(background=background, value_range=span, max_pixels=max_pixels)


class ImageClassifier(Workload):
    """One label per image. Subclass it and override `build_model` to bring your own network."""

    task: Task = "classification"
    formats = (Images, ImageFolder, "webdataset", "joined")

    def __init__(
        self,
        *,
        classes: list[str],
        height: int = 32,
        width: int = 32,
        channels: int = 3,
        base_width: int = 16,
        blocks: int = 2,
        dropout: float = 0.0,
        background: str = "#ffffff",
        value_range: list[float] | None = None,
        max_pixels: int = 64_000_000,
    ) -> None:
        """`background`, `value_range` and `max_pixels` as `Decoding` has them."""
        if len(classes) < 2 or len(set(classes)) != len(classes):
            raise ValueError(f"classes must be two or more different names, got {classes}")
        if channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, got {channels}")
        if height < 4 or width < 4:
            raise ValueError(f"height and width must be at least 4 pixels, got {height}x{width}")
        if base_width < 4 or base_width % 4:
            raise ValueError(f"base_width must be a multiple of 4, got {base_width}")
        if not 1 <= blocks <= 8:
            raise ValueError(f"blocks must be 1 to 8, got {blocks}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {dropout}")
        self.decoding = decoding_of(background, value_range, max_pixels)
        self.classes = tuple(str(name) for name in classes)
        self.height, self.width, self.channels = height, width, channels
        self.base_width, self.blocks, self.dropout = base_width, blocks, dropout

    def input_spec(self) -> InputSpec:
        """(K, H, W) in 0..1."""
        return InputSpec(
            kind="image",
            shape=(self.channels, self.height, self.width),
            dtype="float32",
            value_range=(0.0, 1.0),
            decoding=self.decoding,
        )

    def class_names(self) -> tuple[str, ...]:
        """As the pipeline file lists them."""
        return self.classes

    def build_model(self) -> nn.Module:
        """A small CNN."""
        return SmallCNN(
            channels=self.channels,
            num_classes=len(self.classes),
            base_width=self.base_width,
            blocks=self.blocks,
            dropout=self.dropout,
        )

    def records(
        self, objects: list[RawObject], fetch: Callable[[RawObject], bytes], source: Mapping[str, Any]
    ) -> Iterator[Record | Reject]:
        """A record per picture that has one of the classes, fetched and decoded by several threads."""
        jobs: list[tuple[Example, RawObject]] = []
        for found in self.examples(objects, fetch, source):
            if isinstance(found, Reject):
                yield found
            elif found.picture is None:
                raise ConfigurationError(f"{found.where}: source.format gives no pictures; name one that does")
            elif found.label not in self.classes:
                words = f"{found.where}: label {found.label!r}, expected one of {', '.join(self.classes[:20])}"
                yield Reject(where=found.where, code="unknown_label" if found.label else "missing_label", reason=words)
            else:
                jobs.append((found, found.picture))
        with ThreadPoolExecutor(READERS) as pool:
            yield from pool.map(lambda job: self._read(job[0], job[1], fetch), jobs)

    def _read(self, example: Example, item: RawObject, fetch: Callable[[RawObject], bytes]) -> Record | Reject:
        try:
            found = decode_picture(
                fetch(item) if example.data is None else example.data,
                height=self.height,
                width=self.width,
                channels=self.channels,
                where=item.key,
                how=self.decoding,
            )
        except UnreadableImageError as error:
            return Reject(where=example.where, code=error.reason_code, reason=str(error))
        return Record(
            id=item.key if example.id is None else example.id,
            x=found.pixels,
            y=self.classes.index(example.label or ""),
            group=example.group,
            columns=example.columns,
            content_sha256=hashlib.sha256(found.pixels.tobytes()).hexdigest(),
            raw_digest=item.sha256[:DIGITS],
            where=example.where,
            remarks=found.remarks,
        )
