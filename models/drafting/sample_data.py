"""Data that is made up, for a pipeline that runs before there is any of its own: small, seeded, learnable.

Each function gives the files of a delivery: name below the folder -> bytes.
"""

from __future__ import annotations

import csv
import io
import json
import wave
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

Files = dict[str, bytes]
RATE = 8_000  # Hz of a sound
SIDE = 32  # pixels of a picture with shapes
CHORDS_HZ = {
    "a": (400, 1_500),
    "b": (400, 2_600),
    "c": (700, 1_900),
    "d": (700, 3_200),
    "e": (1_100, 2_200),
    "f": (1_100, 3_000),
}
"""Two tones that are heard as a letter."""


def table_file(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """A CSV."""
    sink = io.StringIO()
    writer = csv.writer(sink)
    writer.writerow(header)
    writer.writerows(rows)
    return sink.getvalue().encode()


def texts() -> Files:
    """Reviews in JSON lines: which words they hold says whether they are praise or blame."""
    rng = np.random.default_rng(0)
    plain = [
        "the",
        "it",
        "was",
        "we",
        "they",
        "room",
        "food",
        "staff",
        "price",
        "view",
        "bed",
        "door",
        "week",
        "town",
        "train",
        "again",
    ]
    telling = {
        "praise": ["lovely", "great", "kind", "fresh", "quiet"],
        "blame": ["dirty", "rude", "late", "broken", "loud"],
    }
    lines = []
    for number in range(600):
        verdict = ("praise", "blame")[number % 2]
        words = [*rng.choice(plain, 9), *rng.choice(telling[verdict], 2)]
        text = " ".join(str(one) for one in rng.permutation(words))
        lines.append(json.dumps({"id": f"r{number}", "review": text, "verdict": verdict}))
    return {"reviews.jsonl": ("\n".join(lines) + "\n").encode()}


def pictures() -> Files:
    """PNG pictures in a folder per class: discs and bars."""
    rng = np.random.default_rng(0)
    files = {}
    for number in range(400):
        shape = ("disc", "bar")[number % 2]
        files[f"{shape}/{number:03d}.png"] = png(_noisy(rng, [(shape, _place(rng))], side=16))
    return files


def table() -> Files:
    """A CSV with numbers, words and gaps: whether a loan is paid back."""
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(800):
        income, age = rng.lognormal(8, 0.5), int(rng.integers(18, 80))
        job = str(rng.choice(["office", "shop", "farm", "none"]))
        owed = rng.lognormal(7, 0.8)
        paid = income - owed + 1_500 * (job == "office") - 1_500 * (job == "none") + 500 * rng.normal() > 1_000
        gap = rng.random() < 0.05
        rows.append(["" if gap else f"{income:.2f}", age, job, f"{owed:.2f}", "yes" if paid else "no"])
    return {"loans.csv": table_file(["income", "age", "job", "owed", "paid"], rows)}


def sounds() -> Files:
    """WAV files in a folder per class: tones that rise and tones that fall."""
    rng = np.random.default_rng(0)
    files = {}
    for number in range(160):
        way = ("rising", "falling")[number % 2]
        low, high = rng.uniform(300, 700), rng.uniform(1_200, 2_400)
        glide = np.linspace(low, high, RATE // 2)
        files[f"{way}/{number:03d}.wav"] = wav(_tone(glide if way == "rising" else glide[::-1], rng))
    return files


def ratings() -> Files:
    """`u.data`, as MovieLens has it: user, item, rating and time. Who likes what follows from two hidden numbers."""
    rng = np.random.default_rng(0)
    users, items = rng.normal(size=(60, 2)), rng.normal(size=(80, 2))
    seen = rng.choice(len(users) * len(items), 2_400, replace=False)
    lines = []
    for number, pair in enumerate(seen.tolist()):
        user, item = divmod(pair, len(items))
        liked = float(np.clip(np.round(3 + 1.2 * users[user] @ items[item] + 0.3 * rng.normal()), 1, 5))
        lines.append(f"{user + 1}\t{item + 1}\t{liked:.0f}\t{880_000_000 + 3_600 * number}")
    return {"u.data": ("\n".join(lines) + "\n").encode()}


def sequences() -> Files:
    """FASTA: sequences that hold a motif, and sequences that do not."""
    rng = np.random.default_rng(0)
    lines = []
    for number in range(600):
        letters = rng.choice(list("ACGT"), 60)
        bound = number % 2 == 0
        if bound:
            at = int(rng.integers(0, 52))
            letters[at : at + 8] = list("TATAAAAG")
        lines += [f">s{number} label={'bound' if bound else 'free'}", "".join(letters)]
    return {"sequences.fasta": ("\n".join(lines) + "\n").encode()}


def shapes() -> Files:
    """Pictures of one to three shapes, and labels.csv: `class left top right bottom` in pixels, `;` between shapes."""
    rng = np.random.default_rng(0)
    files, rows = {}, []
    for number in range(500):
        drawn: list[tuple[str, tuple[int, int, int, int]]] = []
        for _ in range(int(rng.integers(1, 4))):
            place = _place(rng, side=SIDE)
            if not any(_touch(place, other) for _, other in drawn):
                drawn.append((str(rng.choice(["disc", "bar"])), place))
        name = f"{number:03d}.png"
        files[name] = png(_noisy(rng, drawn, side=SIDE))
        rows.append([name, "; ".join(f"{shape} {' '.join(map(str, place))}" for shape, place in drawn)])
    return files | {"labels.csv": table_file(["file", "label"], rows)}


def spoken() -> Files:
    """Sounds of two to seven letters, a chord each, with rests between them, and labels.csv: which letters."""
    rng = np.random.default_rng(0)
    files, rows = {}, []
    for number in range(500):
        text = "".join(rng.choice(list(CHORDS_HZ), int(rng.integers(2, 8))))
        parts = [_rest(rng)]
        for letter in text:
            parts += [_chord(CHORDS_HZ[letter], rng), _rest(rng)]
        name = f"{number:03d}.wav"
        files[name] = wav(np.concatenate(parts))
        rows.append([name, text])
    return files | {"labels.csv": table_file(["file", "text"], rows)}


def png(pixels: np.ndarray[Any, Any]) -> bytes:
    """(H, W) uint8."""
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


def wav(samples: np.ndarray[Any, Any]) -> bytes:
    """(N,) in -1..1."""
    sink = io.BytesIO()
    with wave.open(sink, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((samples * 32_000).astype("<i2").tobytes())
    return sink.getvalue()


def _tone(hertz: np.ndarray[Any, Any], rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """(N,) of a frequency (N,) that may change."""
    fade = np.minimum(1.0, np.minimum(np.arange(len(hertz)), np.arange(len(hertz))[::-1]) / 80)
    return 0.5 * fade * np.sin(2 * np.pi * np.cumsum(hertz) / RATE) + 0.01 * rng.uniform(-1, 1, len(hertz))


def _chord(hertz: tuple[int, int], rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """(N,) of two tones, a little off and of any length within 0.08 to 0.2 s."""
    length = int(rng.uniform(0.08, 0.2) * RATE)
    tones = sum(0.4 * _tone(np.full(length, one * rng.normal(1, 0.08)), rng) for one in hertz)
    return np.asarray(tones + rng.uniform(-0.15, 0.15, length))


def _rest(rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """(N,) of 0.04 to 0.1 s of noise."""
    return 0.15 * rng.uniform(-1, 1, int(rng.uniform(0.04, 0.1) * RATE))


def _place(rng: np.random.Generator, side: int = 16) -> tuple[int, int, int, int]:
    """Left, top, right, bottom in pixels."""
    width, height = (int(one) for one in rng.integers(6, 11, 2))
    left, top = int(rng.integers(0, side - width)), int(rng.integers(0, side - height))
    return left, top, left + width, top + height


def _touch(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _noisy(
    rng: np.random.Generator, drawn: Sequence[tuple[str, tuple[int, int, int, int]]], *, side: int
) -> np.ndarray[Any, Any]:
    """(side, side) uint8: a disc fills its box; a bar is two strokes along its sides."""
    picture = Image.fromarray(rng.integers(0, 40, (side, side), dtype=np.uint8))
    pen = ImageDraw.Draw(picture)
    for shape, (left, top, right, bottom) in drawn:
        box = (left, top, right - 1, bottom - 1)
        if shape == "disc":
            pen.ellipse(box, fill=200)
        else:
            pen.rectangle(box, outline=220, width=2)
    return np.asarray(picture)
