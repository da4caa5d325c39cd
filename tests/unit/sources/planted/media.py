"""Good deliveries of pictures, sounds, shards, sequences, ratings and of what is joined, and how they are spoilt."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import soundfile
from PIL import Image

from tests.unit.sources.planted.reading import COUNT, Files


def png(number: int) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(sink, "PNG")
    return sink.getvalue()


def wav(number: int) -> bytes:
    sink = io.BytesIO()
    soundfile.write(sink, np.sin(np.arange(800) * (0.1 + number / 50)) * 0.5, 8000, format="WAV")
    return sink.getvalue()


def tar(members: Files) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name, data in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
    return sink.getvalue()


def listed(suffix: str, *, without: int | None = None) -> bytes:
    lines = [f"a/{n}.{suffix},{'xy'[n % 2]},{20 + n},g{n // 2}" for n in range(COUNT) if n != without]
    return ("file,who,age,g\n" + "\n".join(lines) + "\n").encode()


def sample(number: int) -> Files:
    about = {"age": 20 + number, "note": f"n{number}"}
    return {
        f"s{number:02d}.png": png(number), f"s{number:02d}.cls": b"xy"[number % 2 : number % 2 + 1],
        f"s{number:02d}.json": json.dumps(about).encode(),
    }  # fmt: skip


WHO = "who: {kind: category, values: [x, y]}"
PICTURE, SOUND = "picture: {kind: image}", "sound: {kind: audio}"
AGE = "age: {kind: number, minimum: 18}"
SAMPLES: Files = {name: data for number in range(COUNT) for name, data in sample(number).items()}
FASTA = "".join(f">p{n} label={'xy'[n % 2]} ph={n}.5\nACGT{'ACGT'[n % 4] * 3}\nGG\n" for n in range(COUNT))
RATINGS = "".join(f"{n % 4}\t{n}\t{n % 5 + 1}\t{881250949 + n}\n" for n in range(COUNT))


@dataclass(frozen=True)
class Whole:
    """A good delivery of a format."""

    files: Files
    schema: str
    source: str


WHOLE = {
    "image_folder": Whole(
        {f"{'xy'[n % 2]}/{n}.png": png(n) for n in range(COUNT)},
        f"{{label: who, fields: {{{PICTURE}, {WHO}}}}}", "format: image_folder",
    ),
    "images": Whole(
        {"t.csv": listed("png"), **{f"a/{n}.png": png(n) for n in range(COUNT)}},
        f"{{label: who, group: g, fields: {{{PICTURE}, {AGE}, {WHO}}}}}",
        "format: images, labels: t.csv, label_column: who, group_column: g",
    ),
    "audio_folder": Whole(
        {f"{'xy'[n % 2]}/{n}.wav": wav(n) for n in range(COUNT)},
        f"{{label: who, fields: {{{SOUND}, seconds: {{kind: number, maximum: 5}}, {WHO}}}}}", "format: audio_folder",
    ),
    "audio": Whole(
        {"t.csv": listed("wav"), **{f"a/{n}.wav": wav(n) for n in range(COUNT)}},
        f"{{label: who, group: g, fields: {{{SOUND}, {AGE}, {WHO}}}}}",
        "format: audio, labels: t.csv, label_column: who, group_column: g",
    ),
    "webdataset": Whole(
        {"s.tar": tar(SAMPLES)},
        f"{{label: who, fields: {{{PICTURE}, {AGE}, note: {{kind: text}}, {WHO}}}}}", "format: webdataset",
    ),
    "fasta": Whole(
        {"a.fa": FASTA.encode()},
        "{label: label, id: id, fields: {sequence: {kind: letters, alphabet: dna}, ph: {kind: number, maximum: 50}, "
        "label: {kind: category, values: [x, y]}}}",
        "format: fasta",
    ),
    "ratings": Whole(
        {"u.data": RATINGS.encode()},
        "{label: rating, time: time, fields: {user: {kind: entity}, item: {kind: entity}, time: {kind: time, format: "
        "unix, input: false}, rating: {kind: number, minimum: 1, maximum: 5}}}",
        "format: ratings",
    ),
    "joined": Whole(
        {**{f"photos/{'xy'[n % 2]}/{n}.png": png(n) for n in range(COUNT)},
         "tables/t.csv": ("stem;age\n" + "".join(f"{n};{20 + n}\n" for n in range(COUNT))).encode()},
        f"{{label: who, id: stem, fields: {{{PICTURE}, {AGE}, {WHO}}}}}",
        "format: joined, by: stem, parts: [{below: photos/, format: image_folder}, "
        '{below: tables/, format: csv, delimiter: ";"}]',
    ),
}  # fmt: skip


def put(key: str, data: bytes) -> Callable[[Files], Files]:
    return lambda files: files | {key: data}


def edit(key: str, before: str, after: str) -> Callable[[Files], Files]:
    def change(files: Files) -> Files:
        assert before.encode() in files[key]
        return files | {key: files[key].replace(before.encode(), after.encode(), 1)}

    return change


def cut(key: str, share: float = 0.5) -> Callable[[Files], Files]:
    return lambda files: files | {key: files[key][: int(len(files[key]) * share)]}


def gone(key: str) -> Callable[[Files], Files]:
    return lambda files: {name: data for name, data in files.items() if name != key}


def samples(**members: bytes | None) -> Callable[[Files], Files]:
    """A tar with other members: `s06_json` is `s06.json`; None: without."""
    changed = {name.replace("_", "."): data for name, data in members.items()}
    return lambda _: {"s.tar": tar({k: d for k, d in sorted((SAMPLES | changed).items()) if d is not None})}
