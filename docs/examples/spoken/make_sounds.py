"""Writes data/spoken/: numbers of two to five digits, spoken by eight voices in five languages, and labels.csv.

Every digit is a recording out of a Debian package (`ratchet seed prompts` has them, too). Which digits follow one
another, how fast, how loud and with which rests is drawn: the numbers that judge are not heard in training, but the
recordings of their digits are.
"""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

import numpy as np
import soundfile
from mlratchet.infra.real_data.catalogue import objects_of
from scipy.signal import resample

RATE, SECONDS = 8_000, 5.0


def digits(prompts: dict[str, bytes]) -> dict[str, list[np.ndarray]]:
    """The ten digits of each voice, without the silence around them."""
    voices: dict[str, list[np.ndarray]] = {}
    for voice in sorted({name.partition("/")[0] for name in prompts if "/digits/" in name}):
        spoken = [soundfile.read(io.BytesIO(prompts[f"{voice}/digits/{one}.wav"]))[0] for one in range(10)]
        loud = [np.flatnonzero(np.abs(one) > 0.02 * np.abs(one).max()) for one in spoken]
        voices[voice] = [one[at[0] : at[-1] + 1] / np.abs(one).max() for one, at in zip(spoken, loud, strict=True)]
    return voices


def number(rng: np.random.Generator, voice: list[np.ndarray]) -> tuple[str, np.ndarray]:
    """What is said, and how it sounds."""
    said = rng.integers(0, 10, int(rng.integers(2, 6)))
    parts = []
    for one in said:
        length = int(len(voice[one]) * rng.uniform(0.8, 1.1))
        parts += [np.zeros(int(rng.uniform(0.03, 0.15) * RATE)), resample(voice[one], length)]
    sound = np.concatenate([*parts, np.zeros(RATE // 20)]) * rng.uniform(0.2, 0.8)
    return "".join(map(str, said)), sound + rng.normal(0, 0.005, len(sound))


def main(count: int, folder: Path) -> None:
    """All of them; what would be too long is left out."""
    rng = np.random.default_rng(0)
    prompts = objects_of("prompts", folder.parent / "packages")
    voices = digits({name.removeprefix("prompts/"): data for name, data in prompts.items()})
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    while len(rows) < count:
        name = sorted(voices)[len(rows) % len(voices)]
        text, sound = number(rng, voices[name])
        if len(sound) < SECONDS * RATE:
            rows.append((f"{len(rows):04d}.wav", text, name))
            soundfile.write(folder / rows[-1][0], sound, RATE, subtype="PCM_16")
    with (folder / "labels.csv").open("w", newline="") as sink:
        csv.writer(sink).writerows([("file", "text", "voice"), *rows])


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1600, Path("data/spoken"))
