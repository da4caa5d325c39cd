"""Declared perturbations of test rows: pure functions of the rows, the parameters and a seed.

A robustness check scores the candidate on a perturbed copy of the test rows; targets and ids stay as they are.

Shape legend: N rows, F columns, K channels, H height, W width.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, Any, Literal

import numpy as np
from mlratchet.models.config import StrictModel
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.evaluation.away import ask_away
from mlratchet.models.evaluation.perturb_named import changed_inputs, refusal
from mlratchet.models.functions import REFERENCE, load_function
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.ports.children import in_process
from mlratchet.models.sources.record import InputSpec, Split
from mlratchet.models.tensors.named import OFFSETS, Inputs
from mlratchet.models.tensors.sharded import changed
from mlratchet.models.tensors.spec import ONE
from pydantic import Field, model_validator

Array = np.ndarray[Any, Any]
BLOCK_SEEDS = 0x9E3779B1  # between the seeds of two blocks


class _Perturbation(StrictModel):
    seed: int = Field(default=0, ge=0, lt=2**32)


class GaussianNoise(_Perturbation):
    """Normal noise on every value. Tables: in units of each column's standard deviation over the rows."""

    kind: Literal["gaussian_noise"]
    sigma: float = Field(gt=0)
    """Images and tensors: in the unit of the input (an image's values are 0..1)."""


class MissingInput(_Perturbation):
    """Values that are not there: whole columns, or a random share of all values."""

    kind: Literal["missing_input"]
    columns: tuple[str, ...] = Field(default=(), strict=False)
    """Tables: these columns are missing in every row."""
    fraction: float | None = Field(default=None, gt=0, le=1)
    """Share of the values of every row, drawn anew for each row."""
    fill: Literal["mean", "zero", "nan"] = "mean"
    """What stands in their place: the column's (else the whole input's) mean over the rows, 0, or NaN for a model
    that treats missing values itself."""

    @model_validator(mode="after")
    def _one_of(self) -> MissingInput:
        if (not self.columns) == (self.fraction is None):
            raise ValueError("give exactly one of columns and fraction")
        return self


class Brightness(_Perturbation):
    """Images: `delta` is added to every value."""

    kind: Literal["brightness"]
    delta: float = Field(ge=-1, le=1)


class Contrast(_Perturbation):
    """Images: every value moves from the image's mean by `factor`; below 1 is flatter."""

    kind: Literal["contrast"]
    factor: float = Field(ge=0, le=10)


class Shift(_Perturbation):
    """Images: moved by `pixels` up, down, left or right, drawn for each row; the edge repeats."""

    kind: Literal["shift"]
    pixels: int = Field(ge=1)


class Permute(_Perturbation):
    """Tables: the values of these columns are shuffled over the rows, together."""

    kind: Literal["permute"]
    columns: tuple[str, ...] = Field(min_length=1, strict=False)


class TokenDropout(_Perturbation):
    """Integer tokens: a share becomes `token`, as a typo makes a word unknown; padding stays."""

    kind: Literal["token_dropout"]
    fraction: float = Field(gt=0, le=1)
    token: int = Field(default=1, ge=0)
    """The id of an unknown token."""
    padding: int = Field(default=0, ge=0)


class TokenSwap(_Perturbation):
    """Integer tokens: a share of neighbouring pairs changes places, as in a typo; padding stays."""

    kind: Literal["token_swap"]
    fraction: float = Field(gt=0, le=1)
    padding: int = Field(default=0, ge=0)


class CustomPerturbation(_Perturbation):
    """The user's own: called with (x, numpy Generator), gives an array of the same shape and type. Where inputs have
    names, x and the result are `Inputs` (`mlratchet.models.tensors.named`)."""

    kind: Literal["custom"]
    function: str = Field(pattern=REFERENCE)


PerturbationSpec = Annotated[
    GaussianNoise
    | MissingInput
    | Brightness
    | Contrast
    | Shift
    | Permute
    | TokenDropout
    | TokenSwap
    | CustomPerturbation,
    Field(discriminator="kind"),
]
PERTURBED = "mlratchet.models.evaluation.in_child:perturbed"
IMAGES = (Brightness, Contrast, Shift)
TOKENS = (TokenDropout, TokenSwap)


def perturbation_name(spec: Any) -> str:
    """The canonical name, e.g. ``gaussian_noise(seed=0,sigma=0.1)``: equal for equal specifications alone."""
    fields = spec.model_dump(mode="json", exclude={"kind"}, exclude_none=True)
    words = ",".join(f"{name}={_word(fields[name])}" for name in sorted(fields) if fields[name] != [])
    return f"{spec.kind}({words})"


def _word(value: Any) -> str:
    return "+".join(value) if isinstance(value, list) else str(value)


def check_perturbation(spec: Any, input_spec: InputSpec, where: str) -> None:
    """Raises ``ConfigurationError`` when the perturbation cannot be done to this kind of input."""
    refused = refusal(spec, input_spec.tensors) if input_spec.tensors else ""
    if refused:
        raise ConfigurationError(f"{where}: {refused}")
    if not input_spec.tensors:
        _check_one(spec, input_spec, where)
    if isinstance(spec, CustomPerturbation):
        load_function(spec.function, where)


def _check_one(spec: Any, input_spec: InputSpec, where: str) -> None:
    kind, integer = input_spec.kind, not input_spec.dtype.startswith("float")
    if isinstance(spec, IMAGES) and (kind != "image" or integer):
        raise ConfigurationError(f"{where}: {spec.kind} needs images of float values, got {kind} of {input_spec.dtype}")
    if isinstance(spec, TOKENS) and (kind == "image" or not integer):
        raise ConfigurationError(f"{where}: {spec.kind} needs integer tokens, got {kind} of {input_spec.dtype}")
    if isinstance(spec, GaussianNoise) and integer:
        raise ConfigurationError(f"{where}: gaussian_noise needs float values, got {input_spec.dtype}")
    if isinstance(spec, Shift) and spec.pixels >= min(input_spec.shape[-2:]):
        raise ConfigurationError(f"{where}: shift by {spec.pixels} pixels leaves nothing of {input_spec.shape}")
    if isinstance(spec, MissingInput) and integer and spec.fill != "zero":
        raise ConfigurationError(f"{where}: missing_input of {input_spec.dtype} values: fill must be zero")
    for column in getattr(spec, "columns", ()):
        if column not in input_spec.columns:
            known = ", ".join(input_spec.columns) or f"none, the input is a {kind}"
            raise ConfigurationError(f"{where}: {spec.kind}: no input column {column!r}; there are: {known}")


def perturb(rows: Split, spec: Any, input_spec: InputSpec) -> Split:
    """A perturbed copy of the rows; the same for the same rows and specification.

    Rows that are not in memory are changed a block at a time, when somebody looks: what is taken over all rows (means,
    standard deviations, permutations) is then taken over those of a block, each with random numbers of its own.

    Values are kept within `InputSpec.value_range`. Raises ``ConfigurationError`` for a custom function whose result
    has another shape or type.
    """

    def change(number: int, x: Inputs) -> Inputs:
        seed = (spec.seed + number * BLOCK_SEEDS) % 2**32
        return _perturbed(x, spec.model_copy(update={"seed": seed}) if number else spec, input_spec)

    return dataclasses.replace(rows, x=changed(rows.x, change))


def _perturbed(x: Inputs, spec: Any, input_spec: InputSpec) -> Inputs:
    if isinstance(spec, CustomPerturbation):
        found = _customised(x, spec)
    elif input_spec.tensors:
        rng = _chance(spec)
        found = changed_inputs(x, spec, input_spec.tensors, lambda one: _changed(one, spec, input_spec, rng), rng)
    else:
        found = Inputs({ONE: _changed(x.array, spec, input_spec, _chance(spec))})
    if input_spec.value_range is not None and found.is_one:
        values = found.array
        return Inputs({ONE: np.clip(values, *input_spec.value_range).astype(values.dtype)})  # NaN stays NaN
    return found


def _customised(x: Inputs, spec: CustomPerturbation) -> Inputs:
    arrays = perturbed_by(x, spec) if in_process() else _changed_away(x, spec)
    for name, before in x.arrays().items():
        after = arrays.get(name, np.zeros(0))
        kept = name.endswith(OFFSETS) and not np.array_equal(before, after)
        if kept or after.shape != before.shape or after.dtype != before.dtype:
            raise ConfigurationError(
                f"perturbation {perturbation_name(spec)}: got {after.dtype} of shape {after.shape}, "
                f"expected {before.dtype} of shape {before.shape}{'' if name == ONE else f' for {name}'}"
            )
    return Inputs.from_arrays({name: np.ascontiguousarray(arrays[name]) for name in x.arrays()})


def _changed(x: Array, spec: Any, input_spec: InputSpec, rng: np.random.Generator) -> Array:
    if isinstance(spec, GaussianNoise):
        scale = x.std(axis=0) if input_spec.kind == "table" else 1.0
        return np.asarray(x + rng.standard_normal(x.shape, dtype=np.float32) * spec.sigma * scale, dtype=x.dtype)
    if isinstance(spec, MissingInput):
        return _missing(x, spec, input_spec, rng)
    if isinstance(spec, Brightness):
        return np.asarray(np.clip(x + spec.delta, 0, 1), dtype=x.dtype)
    if isinstance(spec, Contrast):
        mean = x.mean(axis=tuple(range(1, x.ndim)), keepdims=True)
        return np.asarray(np.clip(mean + (x - mean) * spec.factor, 0, 1), dtype=x.dtype)
    if isinstance(spec, Shift):
        return _shift(x, spec.pixels, rng)
    if isinstance(spec, Permute):
        places = [input_spec.columns.index(name) for name in spec.columns]
        moved = x.copy()
        moved[:, places] = x[rng.permutation(len(x))][:, places]
        return moved
    if isinstance(spec, TokenDropout):
        hit = (rng.random(x.shape) < spec.fraction) & np.not_equal(x, spec.padding)
        return np.where(hit, np.asarray(spec.token, dtype=x.dtype), x)
    if isinstance(spec, TokenSwap):
        return _swap(x, spec, rng)
    raise AssertionError(f"{spec.kind} is no change of an array")


def _changed_away(x: Inputs, spec: CustomPerturbation) -> dict[str, Array]:
    """By a child; what is wrong with it is told by whoever asked."""
    return ask_away(PERTURBED, {}, x.arrays(), {"perturbation": spec.model_dump(mode="json")})


def perturbed_by(x: Inputs, spec: CustomPerturbation) -> dict[str, Array]:
    """By the user's function, in this process: as arrays by name, whatever it gave."""
    change = load_function(spec.function, "robustness")
    if x.names == (ONE,) and x.is_one:
        return {ONE: np.asarray(change(x.array.copy(), _chance(spec)))}
    result = change(x, _chance(spec))
    if not isinstance(result, Inputs):
        raise ConfigurationError(
            f"perturbation {perturbation_name(spec)}: got {type(result).__name__}, expected Inputs with its columns"
        )
    return result.arrays()


def _chance(spec: Any) -> np.random.Generator:
    return np.random.default_rng([spec.seed, int(digest_bytes(spec.kind.encode())[:8], 16)])


def _missing(x: Array, spec: MissingInput, input_spec: InputSpec, rng: np.random.Generator) -> Array:
    if spec.columns:
        gone = np.zeros(x.shape, dtype=bool)
        gone[:, [input_spec.columns.index(name) for name in spec.columns]] = True
    else:
        gone = np.less(rng.random(x.shape), float(spec.fraction or 0.0))
    fill: Any = {"zero": 0, "nan": math.nan}.get(spec.fill)
    if fill is None:
        fill = x.mean(axis=0, keepdims=True) if input_spec.kind == "table" else x.mean()
    return np.asarray(np.where(gone, fill, x), dtype=x.dtype)


def _shift(x_NKHW: Array, pixels: int, rng: np.random.Generator) -> Array:
    height, width = x_NKHW.shape[-2:]
    moved = np.empty_like(x_NKHW)
    direction = rng.integers(4, size=len(x_NKHW))
    for number, (down, right) in enumerate(((pixels, 0), (-pixels, 0), (0, pixels), (0, -pixels))):
        from_row = np.clip(np.arange(height) - down, 0, height - 1)
        from_column = np.clip(np.arange(width) - right, 0, width - 1)
        chosen: Array = np.flatnonzero(direction == number)
        moved[chosen] = x_NKHW[chosen][..., from_row, :][..., from_column]
    return moved


def _swap(x: Array, spec: TokenSwap, rng: np.random.Generator) -> Array:
    flat = x.reshape(len(x), -1).copy()
    pairs = flat[:, : flat.shape[1] // 2 * 2].reshape(len(x), -1, 2)
    hit = (rng.random(pairs.shape[:2]) < spec.fraction) & (pairs != spec.padding).all(axis=2)
    pairs[hit] = pairs[hit][:, ::-1]
    flat[:, : pairs.shape[1] * 2] = pairs.reshape(len(x), -1)
    return flat.reshape(x.shape)
