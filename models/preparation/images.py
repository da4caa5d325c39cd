"""Pictures: decoded, brought to one size, and each channel to mean 0 and deviation 1.

Shape legend: C channels, H height, W width, N pictures.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from mlratchet.models.config import StrictModel
from mlratchet.models.preparation.base import NothingToFit, Pass, PiecewisePreparation, State, tensor_name
from mlratchet.models.preparation.cells import column_of, place, values_of
from mlratchet.models.preparation.exact import Moments
from mlratchet.models.preparation.numbers import scale_of
from mlratchet.models.preparation.samples import FewestDigests
from mlratchet.models.schema.reject import Reject
from mlratchet.models.sources.decoding import UnreadableImageError, decode_image
from mlratchet.models.sources.record import Decoding
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.tensors.spec import TensorSpec
from pydantic import Field
from typing_extensions import override

Array = np.ndarray[Any, Any]


class ImageOptions(StrictModel):
    """How a picture is prepared."""

    height: Annotated[int, Field(ge=1, le=4096)] = 64
    """Pixels; another size is resized (bilinear)."""
    width: Annotated[int, Field(ge=1, le=4096)] = 64
    """Pixels."""
    channels: Literal[1, 3] = 3
    """1: grey, 3: red, green, blue."""
    normalise: Literal["fitted", "none", "bytes"] = "fitted"
    """fitted: mean 0 and deviation 1 of each channel over a sample of the training pictures; none: 0 to 1; bytes: 0 to
    255 as uint8, a quarter of the size, which the model scales."""
    sample: Annotated[int, Field(ge=1)] = 1000
    """Different pictures of the sample, those whose digests are smallest."""
    background: str = "#ffffff"
    """What transparent pixels show."""
    value_range: Annotated[tuple[float, float], Field(strict=False)] | None = None
    """Black and white of pictures whose pixels are no bytes; null: such a picture is refused."""
    max_pixels: Annotated[int, Field(ge=1)] = 64_000_000
    """Of a file: a small one can fill the memory."""


class ImagePreparation(PiecewisePreparation):
    """One picture -> a tensor of its name (N, C, H, W); 0 where none is given."""

    Options = ImageOptions
    options: ImageOptions

    def begin(self) -> Pass:
        """Measure a sample, where that is asked for."""
        return _Pixels(self) if self.options.normalise == "fitted" else NothingToFit()

    def apply(self, examples: pa.Table, state: State) -> Inputs:
        """As `Preparation.apply`. Raises ``UnreadableImageError`` for what is no picture."""
        ((name, kind),) = self.fields.items()
        mean_C11, scale_C11 = state.once("scale", lambda: _scale(state))
        found = np.zeros((examples.num_rows, *self.shape), dtype=self.dtype)
        for row, data in enumerate(values_of(examples, name, kind)):
            if data is None:
                continue
            pixels = self.decoded(data, place(examples, row))
            as_bytes = self.options.normalise == "bytes"
            found[row] = np.rint(pixels * 255) if as_bytes else (pixels - mean_C11) / scale_C11
        return Inputs({tensor_name(name): found})

    @property
    def dtype(self) -> str:
        """Of the tensor."""
        return "uint8" if self.options.normalise == "bytes" else "float32"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one picture."""
        return self.options.channels, self.options.height, self.options.width

    def decoded(self, data: bytes, where: str) -> Array:
        """(C, H, W) float32 in 0..1. Raises ``UnreadableImageError``."""
        channels, height, width = self.shape
        how = Decoding(
            background=self.options.background,
            value_range=self.options.value_range,
            max_pixels=self.options.max_pixels,
        )
        return decode_image(data, height=height, width=width, channels=channels, where=where, how=how)

    @override
    def tensors(self, state: State) -> tuple[TensorSpec, ...]:
        """As `Preparation.tensors`."""
        return (TensorSpec(name=tensor_name(next(iter(self.fields))), shape=self.shape, dtype=self.dtype),)

    @override
    def refused(self, examples: pa.Table) -> list[Reject]:
        """What cannot be decoded."""
        (name,) = self.fields
        found = []
        for row, data in enumerate(column_of(examples, name).to_pylist()):
            try:
                if data is not None:
                    self.decoded(data, place(examples, row))
            except UnreadableImageError as error:
                found.append(Reject(where=place(examples, row), code=error.reason_code, reason=str(error), field=name))
        return found


def _scale(state: State) -> tuple[Array, Array]:
    """(C, 1, 1) mean and deviation, float32; 0 and 1 where none was fitted."""
    if not state.document:
        return np.zeros((1, 1, 1), np.float32), np.ones((1, 1, 1), np.float32)
    parts = (np.array(state.document["mean"]), scale_of(np.array(state.document["deviation"])))
    mean_C11, scale_C11 = (one.astype(np.float32)[:, None, None] for one in parts)
    return mean_C11, scale_C11


class _Pixels(Pass):
    """Moments of each channel over the sample; those of a picture are kept, not its pixels."""

    def __init__(self, preparation: ImagePreparation) -> None:
        self.preparation = preparation
        self.sample: FewestDigests[Moments] = FewestDigests(preparation.options.sample)

    def see(self, piece: pa.Table) -> None:
        (name,) = self.preparation.fields
        for row, data in enumerate(column_of(piece, name).to_pylist()):
            if data is not None:
                where = place(piece, row)
                self.sample.offer(data, lambda data=data, where=where: self._measured(data, where))  # type: ignore[misc]

    def _measured(self, data: bytes, where: str) -> Moments:
        pixels = self.preparation.decoded(data, where)
        channels = pixels.reshape(len(pixels), -1).astype(np.float64)
        found = Moments(len(channels))
        found.add(channels, np.ones(channels.shape, dtype=bool))
        return found

    def end(self) -> State:
        whole = Moments(self.preparation.options.channels)
        for one in self.sample.kept():
            whole.merge(one)
        return State(document={"mean": whole.means.tolist(), "deviation": whole.deviations.tolist()})
