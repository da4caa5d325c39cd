"""Sounds: WAV, FLAC or OGG becomes one channel at one rate, then a log-mel spectrogram, ragged over time.

Shape legend: T frames, M bands.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from mlratchet.models.config import StrictModel
from mlratchet.models.preparation.base import NothingToFit, Pass, PiecewisePreparation, State, tensor_name
from mlratchet.models.preparation.cells import column_of, place, values_of
from mlratchet.models.preparation.exact import Moments
from mlratchet.models.preparation.log_mel import filters, log_mel
from mlratchet.models.preparation.numbers import scale_of
from mlratchet.models.preparation.samples import FewestDigests
from mlratchet.models.preparation.waveform import Headerless, decode_sound
from mlratchet.models.schema.reject import Reject
from mlratchet.models.sources.sounds import UnreadableSoundError
from mlratchet.models.tensors.named import Inputs, Ragged
from mlratchet.models.tensors.spec import TensorSpec
from pydantic import Field, model_validator
from typing_extensions import override

Array = np.ndarray[Any, Any]


class LogMelOptions(StrictModel):
    """How a sound is prepared."""

    rate_hz: Annotated[int, Field(ge=1_000, le=192_000)] = 16_000
    """Samples a second, to which every sound is brought."""
    window_ms: Annotated[float, Field(gt=0, le=1_000)] = 25.0
    """Milliseconds of a frame."""
    hop_ms: Annotated[float, Field(gt=0, le=1_000)] = 10.0
    """Milliseconds from one frame to the next."""
    bands: Annotated[int, Field(ge=1, le=512)] = 64
    """Bands of pitch, on the mel scale."""
    low_hz: Annotated[float, Field(ge=0)] = 20.0
    """Where the lowest band begins."""
    high_hz: float | None = None
    """Where the highest ends; null: half of `rate_hz`."""
    max_seconds: Annotated[float, Field(gt=0, le=3_600)] = 30.0
    """Of a sound, from its beginning."""
    headerless: Headerless = None
    """What bytes are that begin as none of these formats: `gsm` (06.10, 8 kHz), as telephony has it; null: refused."""
    normalise: Literal["fitted", "each", "none"] = "fitted"
    """fitted: mean 0 and deviation 1 of each band over a sample of the training sounds; each: over the sound itself."""
    sample: Annotated[int, Field(ge=1)] = 1000
    """Different sounds of the sample, those whose digests are smallest."""

    @model_validator(mode="after")
    def _in_order(self) -> LogMelOptions:
        if not self.low_hz < self.top_hz <= self.rate_hz / 2:
            raise ValueError(
                f"bands from {self.low_hz:g} to {self.top_hz:g} Hz: expected low_hz < high_hz <= {self.rate_hz / 2:g}"
            )
        if self.samples(self.hop_ms) < 1 or self.samples(self.window_ms) < 2:
            raise ValueError("window_ms or hop_ms is less than a sample; raise it, or rate_hz")
        return self

    @property
    def top_hz(self) -> float:
        """Where the highest band ends."""
        return self.high_hz if self.high_hz is not None else self.rate_hz / 2

    def samples(self, milliseconds: float) -> int:
        """At the rate to which sounds are brought."""
        return round(self.rate_hz * milliseconds / 1000)

    def weights(self) -> Array:
        """Of the bands; the transform is over the next power of two that holds a frame."""
        points = max(2, 1 << (self.samples(self.window_ms) - 1).bit_length())
        return filters(bands=self.bands, points=points, rate_hz=self.rate_hz, low_hz=self.low_hz, high_hz=self.top_hz)


class AudioPreparation(PiecewisePreparation):
    """One sound -> a ragged tensor of its name: (T, M) float32; one frame of 0 where none is given."""

    Options = LogMelOptions
    options: LogMelOptions

    def begin(self) -> Pass:
        """Measure a sample, where that is asked for."""
        return _Bands(self) if self.options.normalise == "fitted" else NothingToFit()

    def apply(self, examples: pa.Table, state: State) -> Inputs:
        """As `Preparation.apply`. Raises ``UnreadableSoundError`` for what is no sound."""
        ((name, kind),) = self.fields.items()
        weights_MK = state.once("weights", self.options.weights)
        spec = self.tensors(state)[0]
        rows = [
            np.zeros((1, self.options.bands))
            if data is None
            else self._scaled(self.spectrogram(data, place(examples, row), weights_MK), state)
            for row, data in enumerate(values_of(examples, name, kind))
        ]
        return Inputs({tensor_name(name): Ragged.of(rows, spec)})

    def spectrogram(self, data: bytes, where: str, weights_MK: Array) -> Array:
        """(T, M) float64, as it is heard. Raises ``UnreadableSoundError``."""
        one, sound_S = self.options, self.decoded(data, where)
        window, hop = one.samples(one.window_ms), one.samples(one.hop_ms)
        return log_mel(sound_S, window=window, hop=hop, weights_MK=weights_MK)

    def decoded(self, data: bytes, where: str) -> Array:
        """(S,) float64. Raises ``UnreadableSoundError``."""
        one = self.options
        return decode_sound(
            data, rate_hz=one.rate_hz, max_seconds=one.max_seconds, where=where, headerless=one.headerless
        )

    def _scaled(self, found_TM: Array, state: State) -> Array:
        if self.options.normalise == "none":
            return found_TM
        if self.options.normalise == "each":
            mean_M, deviation_M = found_TM.mean(axis=0), found_TM.std(axis=0)
        else:
            mean_M, deviation_M = (np.array(state.document[one]) for one in ("mean", "deviation"))
        return np.asarray((found_TM - mean_M) / scale_of(deviation_M))

    @override
    def tensors(self, state: State) -> tuple[TensorSpec, ...]:
        """As `Preparation.tensors`."""
        name = tensor_name(next(iter(self.fields)))
        return (TensorSpec(name=name, shape=(self.options.bands,), dtype="float32", ragged=True),)

    @override
    def refused(self, examples: pa.Table) -> list[Reject]:
        """What cannot be decoded."""
        (name,) = self.fields
        found = []
        for row, data in enumerate(column_of(examples, name).to_pylist()):
            where = place(examples, row)
            try:
                if data is not None:
                    self.decoded(data, where)
            except UnreadableSoundError as error:
                found.append(Reject(where=where, code=error.reason_code, reason=str(error), field=name))
        return found


class _Bands(Pass):
    """Moments of each band over the frames of the sample."""

    def __init__(self, preparation: AudioPreparation) -> None:
        self.preparation = preparation
        self.weights = preparation.options.weights()
        self.sample: FewestDigests[Moments] = FewestDigests(preparation.options.sample)

    def see(self, piece: pa.Table) -> None:
        (name,) = self.preparation.fields
        for row, data in enumerate(column_of(piece, name).to_pylist()):
            if data is not None:
                where = place(piece, row)
                self.sample.offer(data, lambda data=data, where=where: self._measured(data, where))  # type: ignore[misc]

    def _measured(self, data: bytes, where: str) -> Moments:
        found_MT = self.preparation.spectrogram(data, where, self.weights).T
        found = Moments(len(found_MT))
        found.add(found_MT, np.ones(found_MT.shape, dtype=bool))
        return found

    def end(self) -> State:
        whole = Moments(self.preparation.options.bands)
        for one in self.sample.kept():
            whole.merge(one)
        return State(document={"mean": whole.means.tolist(), "deviation": whole.deviations.tolist()})
