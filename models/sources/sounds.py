"""What a sound file holds, read to its end in small blocks: rate, channels, length; or why it cannot be used.

Whatever the decoder raises is `UnreadableSoundError`: about this sound, never about the run.
"""

from __future__ import annotations

import io
import math
import struct
from dataclasses import dataclass
from typing import Any

from mlratchet.models.errors import DataError

SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus")
KINDS = {".wav": ("WAV", "WAVEX", "RF64"), ".flac": ("FLAC",), ".ogg": ("OGG",), ".oga": ("OGG",), ".opus": ("OGG",)}
MOST_SECONDS = 3_600.0  # of one sound; a small file can hold silence for days
MOST_CHANNELS = 64
BLOCK_FRAMES = 65_536


class UnreadableSoundError(DataError):
    """The bytes are not a sound that can be used; `reason_code` is a short stable word."""

    def __init__(self, reason_code: str, message: str) -> None:
        super().__init__(message)
        self.reason_code = reason_code


@dataclass(frozen=True, kw_only=True)
class SoundFacts:
    """Of a whole sound."""

    rate_hz: int
    channels: int
    frames: int

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.frames / self.rate_hz


def sound_facts(data: bytes, where: str, *, most_seconds: float = MOST_SECONDS) -> SoundFacts:
    """Read it to the end. `where` names it in errors, and its suffix says what it is.

    Raises ``UnreadableSoundError`` for whatever cannot be decoded, holds no frame, fewer than it says, values that are
    no finite numbers, or more than `most_seconds`.
    """
    try:
        return _facts(data, where, most_seconds)
    except UnreadableSoundError:
        raise
    except Exception as error:
        told = str(getattr(error, "error_string", error))  # without the object: it is called otherwise in every process
        words = " ".join(told.split())[:200].rstrip(".") or type(error).__name__
        code = "not_a_sound" if data[:4] not in (b"RIFF", b"fLaC", b"OggS") else "undecodable_sound"
        raise UnreadableSoundError(code, f"{where}: cannot be decoded: {words}; deliver WAV, FLAC or OGG") from error


def _facts(data: bytes, where: str, most_seconds: float) -> SoundFacts:
    import soundfile

    with soundfile.SoundFile(io.BytesIO(data)) as sound:
        _refuse_other_kind(sound, where)
        rate, channels, promised = int(sound.samplerate), int(sound.channels), int(sound.frames)
        if not 0 < channels <= MOST_CHANNELS or rate <= 0:
            raise UnreadableSoundError(
                "undecodable_sound", f"{where}: {channels} channels at {rate} Hz; record it again"
            )
        most = math.ceil(most_seconds * rate)
        if promised > most:
            raise _too_long(where, promised / rate, most_seconds)
        frames = _frames(sound, where, most, most_seconds)
    if not frames:
        raise UnreadableSoundError("empty_sound", f"{where}: holds no sound; record it again")
    promised = max(promised, wav_frames(data) or 0)
    if frames < promised:
        words = f"{where}: {frames:,} frames, its header says {promised:,}: it is cut; deliver it whole"
        raise UnreadableSoundError("truncated_sound", words)
    return SoundFacts(rate_hz=rate, channels=channels, frames=frames)


def _frames(sound: Any, where: str, most: int, most_seconds: float) -> int:
    import numpy as np

    frames = 0
    while len(block := sound.read(BLOCK_FRAMES, dtype="float32", always_2d=True)):
        frames += len(block)
        if frames > most:
            raise _too_long(where, frames / sound.samplerate, most_seconds)
        if not np.isfinite(block).all():
            raise UnreadableSoundError(
                "non_finite", f"{where}: holds values that are no finite numbers; record it again"
            )
    return frames


def _too_long(where: str, seconds: float, most_seconds: float) -> UnreadableSoundError:
    words = (
        f"{where}: {seconds:,.0f} s or more, expected at most {most_seconds:,.0f}; cut it, or set source.max_seconds"
    )
    return UnreadableSoundError("too_long", words)


def _refuse_other_kind(sound: Any, where: str) -> None:
    suffix = next((one for one in SUFFIXES if where.lower().endswith(one)), None)
    if suffix is not None and sound.format not in KINDS[suffix]:
        words = f"{where}: is {sound.format}, its name says {suffix}; name it as what it is"
        raise UnreadableSoundError("content_unlike_extension", words)


def wav_frames(data: bytes) -> int | None:
    """What the header of a RIFF file promises, whatever its length; None where it does not say, as of a stream."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return None
    at, block = 12, 0
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        if name == b"fmt " and at + 22 <= len(data):
            block = struct.unpack_from("<H", data, at + 20)[0]
        if name == b"data":
            endless = size in (0, 0xFFFFFFFF, 0x7FFFFFFF)
            format_tag = struct.unpack_from("<H", data, 20)[0]
            return None if endless or not block or format_tag not in (1, 3, 6, 7, 0xFFFE) else size // block
        at += 8 + size + size % 2
    return None
