"""Decode a sound of unknown origin: one channel at a declared rate, or why not."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from mlratchet.models.sources.sounds import UnreadableSoundError, wav_frames

FORMATS = ("WAV", "WAVEX", "RF64", "FLAC", "OGG")
MARKS = (b"RIFF", b"RF64", b"fLaC", b"OggS")  # the first bytes of such files
RAW, GSM_RATE_HZ, GSM_FRAME = "RAW", 8_000, 33  # telephony: GSM 06.10 has no header, one rate, and frames of 33 bytes
MOST_CHANNELS, BLOCK = 64, 65_536  # samples of a channel that are decoded at once
RATES_HZ = (1_000, 384_000)  # of files that are read

Headerless = Literal["gsm"] | None
Array = np.ndarray[Any, Any]


def decode_sound(data: bytes, *, rate_hz: int, max_seconds: float, where: str, headerless: Headerless = None) -> Array:
    """(S,) float64 in -1..1: the mean of its channels, from its beginning, resampled by a polyphase filter.

    `headerless`: what bytes are that begin as none of the formats do; None: refused.

    Raises ``UnreadableSoundError`` for whatever cannot be decoded.
    """
    sound_S, found_hz = _read(data, max_seconds, where, headerless)
    if not np.isfinite(sound_S).all():
        raise UnreadableSoundError("non_finite", f"{where}: holds samples that are no numbers; deliver it again")
    if not len(sound_S):
        raise UnreadableSoundError("empty_sound", f"{where}: holds no sample; deliver it again")
    if found_hz == rate_hz:
        return sound_S
    from scipy.signal import resample_poly

    common = math.gcd(rate_hz, found_hz)
    resampled: Array = resample_poly(sound_S, rate_hz // common, found_hz // common)
    return resampled


def _read(data: bytes, max_seconds: float, where: str, headerless: Headerless) -> tuple[Array, int]:
    """Mean of the channels, and the rate of the file."""
    import soundfile

    code, words = "not_a_sound", "cannot be decoded"
    try:
        with soundfile.SoundFile(io.BytesIO(data), **_form(data, headerless)) as file:
            code, words = "undecodable_sound", "cannot be read to their end"
            if file.format not in FORMATS and file.format != RAW:
                raise UnreadableSoundError(
                    "other_format", f"{where}: got {file.format}, expected WAV, FLAC or OGG; convert it"
                )
            if not RATES_HZ[0] <= file.samplerate <= RATES_HZ[1]:
                raise UnreadableSoundError(
                    "strange_rate",
                    f"{where}: got {file.samplerate} samples a second, expected {RATES_HZ[0]:,} to {RATES_HZ[1]:,}",
                )
            wanted = math.ceil(max_seconds * file.samplerate)
            if file.channels > MOST_CHANNELS:
                raise UnreadableSoundError(
                    "many_channels",
                    f"{where}: got {file.channels} channels, expected at most {MOST_CHANNELS}; mix it down",
                )
            found = _mixed(file, wanted)
            promised = max(file.frames, wav_frames(data) or 0)
            if len(found) < min(wanted, promised):
                raise UnreadableSoundError(
                    "truncated_sound",
                    f"{where}: ends after {len(found)} of {promised} samples; deliver it again",
                )
            return found, int(file.samplerate)
    except soundfile.SoundFileError as exc:
        raise UnreadableSoundError(
            code, f"{where}: {len(data)} bytes {words}: {_why(exc)}; expected a whole WAV, FLAC or OGG"
        ) from exc


def _why(error: Exception) -> str:
    """Without the object that was read, which is called otherwise in every process."""
    return str(getattr(error, "error_string", error)).rstrip(".")


def _mixed(file: Any, wanted: int) -> Array:
    """The mean of all channels, block by block: a header may claim any number of samples."""
    blocks, count = [np.zeros(0)], 0
    while count < wanted:
        block = file.read(frames=min(BLOCK, wanted - count), dtype="float64", always_2d=True)
        if not len(block):
            break
        blocks.append(block.mean(axis=1))
        count += len(block)
    return np.concatenate(blocks)


def _form(data: bytes, headerless: Headerless) -> Mapping[str, Any]:
    """What has to be said of a file that does not say it itself."""
    if headerless is None or not data or data[:4] in MARKS or any(byte >> 4 != 0xD for byte in data[::GSM_FRAME]):
        return {}
    return {"format": RAW, "subtype": "GSM610", "samplerate": GSM_RATE_HZ, "channels": 1}
