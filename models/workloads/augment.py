"""Random changes to the pictures and sounds of training rows: what a person would still call the same.

Every number is drawn from the generator that the engine gives for a step, so a resumed training draws the same. Nothing
here is met in validation, evaluation or serving.

Shape legend: B rows, C channels, H x W pixels, T steps, M bands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from mlratchet.models.config import StrictModel
from mlratchet.models.nearest import nearest_hint
from mlratchet.models.preparation.base import tensor_name
from mlratchet.models.schema.fields import Schema
from mlratchet.models.tensors.spec import LENGTHS
from pydantic import Field, ValidationError

Array = np.ndarray[Any, Any]
Change = Callable[[Array, Array, np.random.Generator], Array]


class PictureChanges(StrictModel):
    """Of a picture, each drawn for every row and step anew."""

    shift: int = Field(default=0, ge=0)
    """Pixels by which it is moved at most, up, down and aside; its edge fills the gap."""
    crop: float = Field(default=0.0, ge=0, lt=1)
    """Share of each side that is cut away at most; the rest is enlarged to the size of the picture."""
    flip: bool = False
    """Whether left and right change places in every other row."""
    noise: float = Field(default=0.0, ge=0)
    """Standard deviation of what is added to every value, in the unit of the tensor."""


class SoundChanges(StrictModel):
    """Of a log-mel spectrogram, each drawn for every row and step anew."""

    shift: int = Field(default=0, ge=0)
    """Steps by which it is moved at most; what is pushed out at one end comes in at the other."""
    time_mask: int = Field(default=0, ge=0)
    """Neighbouring steps that are set to 0 at most (SpecAugment, Park et al. 2019)."""
    band_mask: int = Field(default=0, ge=0)
    """Neighbouring bands that are set to 0 at most."""
    noise: float = Field(default=0.0, ge=0)
    """Standard deviation of what is added to every value."""


KINDS: Mapping[str, type[PictureChanges] | type[SoundChanges]] = {"image": PictureChanges, "audio": SoundChanges}


class Augmentation:
    """What a pipeline file declares, by field."""

    def __init__(self, schema: Schema, declared: Mapping[str, Any]) -> None:
        """Raises ``ValueError`` for a field that is no picture or sound, and for a change that there is not."""
        self.by_tensor: dict[str, PictureChanges | SoundChanges] = {}
        for name in sorted(declared):
            field = schema.inputs.get(name)
            if field is None:
                raise ValueError(f"augment.{name}: no input of that name; {nearest_hint(name, schema.inputs)}")
            if field.kind not in KINDS:
                raise ValueError(f"augment.{name}: is a {field.kind}, and only pictures and sounds are changed")
            kind = KINDS[field.kind]
            for option in declared[name]:
                if option not in kind.model_fields:
                    hint = nearest_hint(option, kind.model_fields)
                    raise ValueError(f"augment.{name}.{option}: no such change; {hint}")
            try:
                self.by_tensor[tensor_name(name)] = kind.model_validate(dict(declared[name]))
            except ValidationError as error:
                first = error.errors()[0]
                place = ".".join(map(str, first["loc"]))
                raise ValueError(f"augment.{name}.{place}: {first['msg']}, got {first['input']!r}") from error

    def changed(self, x: Any, rng: np.random.Generator, names: Sequence[str]) -> Any:
        """The rows of a step: one array where the model takes one tensor (`names` has its name), else by name."""
        if not isinstance(x, Mapping):
            changes = self.by_tensor.get(names[0])
            return x if changes is None else _changed(x, None, changes, rng)
        found = dict(x)
        for name, changes in self.by_tensor.items():
            found[name] = _changed(x[name], x.get(f"{name}{LENGTHS}"), changes, rng)
        return found


def _changed(
    x: Array, lengths_B: Array | None, changes: PictureChanges | SoundChanges, rng: np.random.Generator
) -> Array:
    found = np.array(x)
    for row in range(len(found)):
        if isinstance(changes, PictureChanges):
            found[row] = _picture(found[row], changes, rng)
        else:
            length = int(lengths_B[row]) if lengths_B is not None else len(found[row])
            found[row, :length] = _sound(found[row, :length], changes, rng)
    return found


def _picture(x_CHW: Array, changes: PictureChanges, rng: np.random.Generator) -> Array:
    _, height, width = x_CHW.shape
    down, right = _places(height), _places(width)
    if changes.crop:
        down, right = (_window(size, changes.crop, rng) for size in (height, width))
    if changes.shift:
        moved = rng.integers(-changes.shift, changes.shift + 1, 2)
        down, right = np.clip(down + moved[0], 0, height - 1), np.clip(right + moved[1], 0, width - 1)
    if changes.flip and rng.random() < 0.5:
        right = right[::-1]
    found = x_CHW[:, down][:, :, right]
    return _with_noise(found, changes.noise, rng)


def _places(size: int) -> Array:
    return np.arange(size)


def _window(size: int, share: float, rng: np.random.Generator) -> Array:
    """(size,) which pixel stands at each place, of a window that is enlarged."""
    kept = size * (1 - share * rng.random())
    start = rng.random() * (size - kept)
    return np.minimum((start + (np.arange(size) + 0.5) * kept / size).astype(np.int64), size - 1)


def _sound(x_TM: Array, changes: SoundChanges, rng: np.random.Generator) -> Array:
    steps, bands = x_TM.shape
    found = x_TM
    if changes.shift:
        found = np.roll(found, int(rng.integers(-changes.shift, changes.shift + 1)), axis=0)
    found = _with_noise(found, changes.noise, rng)
    for axis, (size, most) in enumerate(((steps, changes.time_mask), (bands, changes.band_mask))):
        if most:
            long = int(rng.integers(0, min(most, size) + 1))
            start = int(rng.integers(0, size - long + 1))
            found = np.array(found)
            found[(slice(None),) * axis + (slice(start, start + long),)] = 0
    return found


def _with_noise(x: Array, deviation: float, rng: np.random.Generator) -> Array:
    if not deviation:
        return x
    noisy = x + rng.normal(0.0, deviation, x.shape)
    if np.issubdtype(x.dtype, np.integer):
        limits = np.iinfo(x.dtype)
        noisy = np.clip(np.rint(noisy), limits.min, limits.max)
    return noisy.astype(x.dtype)
