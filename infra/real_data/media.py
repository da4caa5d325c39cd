"""Real pictures and sounds."""

from __future__ import annotations

import gzip
import io
from collections.abc import Mapping

import numpy as np
from mlratchet.infra.real_data.packages import PackageUnavailableError
from mlratchet.infra.real_data.tables import csv_of
from PIL import Image

SIDE = 28  # pixels
VOICES = {
    "en_US_f_Allison": ("en", "en_allison"),
    "es_MX_f_Allison": ("es", "es_allison"),
    "fr_CA_f_June": ("fr", "fr_june"),
    "it_IT_m_Carlo": ("it", "it_carlo"),
    "ru_RU_f_IvrvoiceRU": ("ru", "ru_ivrvoice"),
    "fr": ("fr", "fr_armelle"),
    "es": ("es", "es_colombia"),
    "it_IT_f_Menardi": ("it", "it_menardi"),
}
"""Folder in a package -> language, voice."""
NOBODY_SPEAKS = ("silence/", "beep", "ascending-2tone", "descending-2tone", "letters/ascii")
RATE = 8_000  # samples per second of all of them


def mnist(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """A PNG per digit, in the folder of its class."""
    (data,) = files.values()
    table = np.loadtxt(io.BytesIO(gzip.decompress(data)), delimiter=",", dtype=np.uint8, ndmin=2)
    found = {}
    for number, row in enumerate(table):
        sink = io.BytesIO()
        Image.fromarray(row[:-1].reshape(SIDE, SIDE), mode="L").save(sink, "PNG")
        found[f"{row[-1]}/{number:04d}.png"] = sink.getvalue()
    return found


def prompts(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """A WAV per prompt and voice, and a table that says whose it is, in which language, and what is said."""
    found: dict[str, bytes] = {}
    rows = []
    for name in sorted(files):
        folder, _, path = name.partition("sounds/")[2].partition("/")
        language, voice = VOICES[folder]
        prompt, _, kind = path.rpartition(".")
        if prompt.startswith(NOBODY_SPEAKS):
            continue
        key = f"{voice}/{prompt}.wav"
        found[key] = files[name] if kind == "wav" else _wav_of_gsm(files[name])
        rows.append((key, voice, language, prompt))
    return {"prompts.csv": csv_of(("file", "voice", "language", "prompt"), rows), **found}


def _wav_of_gsm(data: bytes) -> bytes:
    try:
        import soundfile
    except (ImportError, OSError) as exc:
        raise PackageUnavailableError(f"the sounds are GSM, and soundfile cannot be loaded ({exc})") from exc
    samples, _ = soundfile.read(
        io.BytesIO(data), format="RAW", subtype="GSM610", samplerate=RATE, channels=1, dtype="int16"
    )
    sink = io.BytesIO()
    soundfile.write(sink, samples, RATE, format="WAV", subtype="PCM_16")
    return sink.getvalue()
