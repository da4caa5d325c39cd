"""Sounds: the spectrogram held against torch's, resampling against what a tone is, and what cannot be decoded."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import soundfile
import torch
from mlratchet.models.errors import DataError
from mlratchet.models.preparation.audio import AudioPreparation, LogMelOptions
from mlratchet.models.preparation.base import State
from mlratchet.models.preparation.log_mel import filters, log_mel
from mlratchet.models.preparation.waveform import decode_sound
from mlratchet.models.schema.fields import Field
from mlratchet.models.sources.sounds import UnreadableSoundError
from mlratchet.models.tensors.named import Ragged
from pydantic import ValidationError

from tests.unit.preparation.examples import sound

RATE = 8000
NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, RATE)
SOUNDS = [sound(NOISE[at : at + 2000] * (at + 1) / RATE, RATE) for at in range(0, 6000, 500)]


def tone(hz: float, rate: int, seconds: float = 0.5) -> Any:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate)


def table(files: list[Any]) -> pa.Table:
    return pa.table({"voice": pa.array(files, pa.binary()), "@where": [f"{at}.wav" for at in range(len(files))]})


def fitted(options: dict[str, Any], files: list[Any] = SOUNDS, **field: Any) -> tuple[AudioPreparation, State]:
    one = AudioPreparation({"voice": Field(kind="audio", **field)}, LogMelOptions(rate_hz=RATE, bands=20, **options))
    return one, one.fit(lambda: iter([table(files)]))


def spectrograms(one: AudioPreparation, state: State, files: list[Any]) -> list[Any]:
    column = one.apply(table(files), state).columns["voice"]
    assert isinstance(column, Ragged)
    return [column[row] for row in range(len(files))]


def test_a_spectrogram_is_that_of_torch() -> None:
    weights = filters(bands=20, points=256, rate_hz=RATE, low_hz=20, high_hz=4000)
    found = log_mel(NOISE, window=200, hop=80, weights_MK=weights)
    window = torch.nn.functional.pad(torch.hann_window(200, dtype=torch.float64), (0, 56))
    framed = torch.nn.functional.pad(torch.from_numpy(NOISE), (0, 56))
    theirs = torch.stft(framed, 256, hop_length=80, window=window, center=False, return_complex=True)
    power = (theirs.abs() ** 2).T.numpy()
    assert found == pytest.approx(np.log(np.maximum(power @ weights.T, 1e-10)), abs=1e-8)
    assert found.shape == (1 + (RATE - 200) // 80, 20)


def test_filters_are_triangles_that_overlap_by_half() -> None:
    weights = filters(bands=10, points=4096, rate_hz=16000, low_hz=0, high_hz=8000)
    between = slice(weights[0].argmax() + 1, weights[-1].argmax())
    assert weights[:, between].sum(axis=0) == pytest.approx(1.0)
    assert weights.max() <= 1.0
    assert (np.diff(weights.argmax(axis=1)) > 0).all()


def test_the_loudest_band_is_that_of_the_tone() -> None:
    one, state = fitted({"normalise": "none"})
    (found,) = spectrograms(one, state, [sound(tone(1000, RATE), RATE)])
    edges = 700 * (10 ** (np.linspace(*(2595 * np.log10(1 + np.array([20, 4000]) / 700)), 22) / 2595) - 1)
    band = int(np.argmin(np.abs(edges[1:-1] - 1000)))
    assert set(found.argmax(axis=1)) == {band}


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG"])
@pytest.mark.parametrize("rate", [4000, 8000, 22_050, 44_100])
def test_a_tone_stays_itself_at_another_rate_and_in_any_format(form: str, rate: int) -> None:
    data = sound(tone(440, rate), rate, form)
    found = decode_sound(data, rate_hz=RATE, max_seconds=9, where="a")
    middle = slice(len(found) // 4, -len(found) // 4)
    assert len(found) == pytest.approx(RATE // 2, abs=2)
    assert found[middle] == pytest.approx(tone(440, RATE)[: len(found)][middle], abs=0.03)


def test_telephony_without_a_header_is_read_where_that_is_declared() -> None:
    file = io.BytesIO()
    soundfile.write(file, tone(440, RATE), RATE, format="RAW", subtype="GSM610")
    found = decode_sound(file.getvalue(), rate_hz=RATE, max_seconds=9, where="a.gsm", headerless="gsm")
    same = tone(440, RATE)
    assert np.corrcoef(found[: len(same)], same[: len(found)])[0, 1] > 0.98
    with pytest.raises(UnreadableSoundError, match="expected a whole WAV, FLAC or OGG"):
        decode_sound(file.getvalue(), rate_hz=RATE, max_seconds=9, where="a.gsm")
    with pytest.raises(UnreadableSoundError, match="cannot be decoded"):
        decode_sound(b"neither of them" * 9, rate_hz=RATE, max_seconds=9, where="a.gsm", headerless="gsm")
    wav = decode_sound(sound(same, RATE), rate_hz=RATE, max_seconds=9, where="a.wav", headerless="gsm")
    assert wav == pytest.approx(same, abs=1e-3)


def test_channels_are_averaged() -> None:
    both = np.stack([tone(440, RATE), -tone(440, RATE)], axis=1)
    assert np.abs(decode_sound(sound(both, RATE), rate_hz=RATE, max_seconds=9, where="a")).max() < 1e-4


def test_a_long_sound_is_cut_and_a_short_one_is_one_frame() -> None:
    one, state = fitted({"max_seconds": 0.1})
    long, short = spectrograms(one, state, [sound(NOISE, RATE), sound(NOISE[:3], RATE)])
    assert (len(long), len(short)) == (1 + (800 - 200) // 80, 1)


def test_bands_have_mean_0_and_deviation_1_over_the_frames_of_all() -> None:
    one, state = fitted({})
    frames = np.concatenate(spectrograms(one, state, SOUNDS))
    assert frames.mean(axis=0) == pytest.approx(0.0, abs=1e-4)
    assert frames.std(axis=0) == pytest.approx(1.0, abs=1e-4)


def test_each_sound_can_be_normalised_by_itself() -> None:
    one, state = fitted({"normalise": "each"})
    loud, soft = spectrograms(one, state, [sound(NOISE * 0.9, RATE, "FLAC"), sound(NOISE * 0.1, RATE, "FLAC")])
    assert loud == pytest.approx(soft, abs=0.05)
    assert state.document == {}


def test_silence_is_finite() -> None:
    one, state = fitted({"normalise": "none"})
    (found,) = spectrograms(one, state, [sound(np.zeros(500), RATE)])
    assert found == pytest.approx(np.log(1e-10))


def test_no_sound_is_one_frame_of_0() -> None:
    one, state = fitted({}, nullable=True)
    none, _ = spectrograms(one, state, [None, SOUNDS[0]])
    assert none.tolist() == [[0.0] * 20]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"no sound", "not_a_sound"),
        (b"", "not_a_sound"),
        (sound(NOISE[:0], RATE), "empty_sound"),
        (sound(NOISE, RATE, "AIFF"), "other_format"),
        (sound(NOISE, 500), "strange_rate"),
        (sound(np.zeros((10, 65)), RATE), "many_channels"),
        (sound(NOISE, RATE, "FLAC")[:4000], "undecodable_sound"),
        (sound(NOISE, RATE)[:4000], "truncated_sound"),
    ],
)
def test_what_is_no_sound_is_refused_with_its_place(data: bytes, code: str) -> None:
    one, state = fitted({})
    rows = table([SOUNDS[0], data])
    with pytest.raises(UnreadableSoundError, match=r"^1.wav: "):
        one.apply(rows, state)
    assert [(one.where, one.code, one.field) for one in one.refused(rows)] == [("1.wav", code, "voice")]


def test_a_sound_written_while_it_was_recorded_is_read() -> None:
    """Its header cannot say how long it is."""
    data = bytearray(sound(NOISE, RATE))
    data[4:8], data[40:44] = b"\xff" * 4, b"\xff" * 4
    assert len(decode_sound(bytes(data), rate_hz=RATE, max_seconds=9, where="a")) == RATE


def test_a_sound_that_lacks_where_none_may_is_refused() -> None:
    one, state = fitted({})
    with pytest.raises(DataError, match=r"0.wav: field 'voice' is not given"):
        one.apply(table([None]), state)


@pytest.mark.parametrize("options", [{"high_hz": 5000.0}, {"low_hz": 4000.0}, {"hop_ms": 0.01}, {"window_ms": 0.1}])
def test_bands_and_frames_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LogMelOptions(rate_hz=RATE, **options)
