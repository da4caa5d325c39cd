"""The worlds of benchmarks/detectors.py: one made up, and one of each kind of real data, features kept in a folder."""

from __future__ import annotations

import csv
import io
import warnings
import wave
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from detectors_worlds import Raw
from mlratchet.infra.real_data.archives import files_of
from mlratchet.infra.real_data.catalogue import objects_of
from mlratchet.infra.real_data.packages import Package, archive_of
from PIL import Image
from sklearn.datasets import make_classification
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

Array = np.ndarray[Any, Any]
FIELDS = 16  # of a table, at most
BANDS = 32


def synthetic(_kept: Path) -> Raw:
    """Six numbers, three classes."""
    x, y = make_classification(40_000, 6, n_informative=5, n_redundant=1, n_classes=3, class_sep=1.6, random_state=14)
    return Raw(name="synthetic", y=y, fields={f"x{at}": x[:, at] for at in range(6)})


def letters(kept: Path) -> Raw:
    """20,000 letters in numbers."""
    header, rows = _table(objects_of("letters", kept)["letters/letters.csv"])
    label = header.index("lettr")
    held = [at for at in range(len(header)) if at != label][:FIELDS]
    fields = {header[at]: np.asarray([float(row[at]) for row in rows]) for at in held}
    return Raw(name="letters", y=_codes([row[label] for row in rows]), fields=fields)


def income(kept: Path) -> Raw:
    """8,993 people, answers in words with gaps."""
    header, rows = _table(objects_of("income", kept)["income/income.csv"])
    label = header.index("INCOME")
    held = [at for at in range(len(header)) if at != label][:FIELDS]
    fields = {header[at]: np.asarray([row[at] or None for row in rows], dtype=object) for at in held}
    return Raw(name="income", y=_codes([row[label] for row in rows]), fields=fields)


def mnist(kept: Path) -> Raw:
    """5,000 pictures."""
    objects = sorted(objects_of("mnist", kept).items())
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(data))).ravel() for _, data in objects]) / 255.0
    return Raw(name="pictures", y=np.asarray([int(key.split("/")[1]) for key, _ in objects]), inputs=pixels)


def glosses(kept: Path) -> Raw:
    """20,000 definitions, as 64 directions of their words."""
    header, rows = _table(objects_of("glosses", kept)["glosses/glosses.csv"])
    rows = [rows[at] for at in np.random.default_rng(0).permutation(len(rows))[:20_000]]
    texts = [row[header.index("gloss")] for row in rows]
    table = TfidfVectorizer(sublinear_tf=True, min_df=3).fit_transform(texts)
    inputs = TruncatedSVD(64, random_state=0).fit_transform(table) * 8
    lengths = np.asarray([float(len(one)) for one in texts])
    return Raw(
        name="texts", y=_codes([row[header.index("class")] for row in rows]), inputs=inputs, beside={"length": lengths}
    )


def peptides(kept: Path) -> Raw:
    """5,200 peptides by their letters and pairs of letters."""
    text = objects_of("peptides", kept)["peptides/peptides.fasta"].decode()
    entries = [one.split("\n") for one in text.split(">")[1:]]
    y = _codes([one[0].split("class=")[1] for one in entries])
    sequences = ["".join(one[1:]) for one in entries]
    table = TfidfVectorizer(analyzer="char", ngram_range=(1, 2), lowercase=False).fit_transform(sequences)
    inputs = TruncatedSVD(64, random_state=0).fit_transform(table) * 8
    return Raw(name="peptides", y=y, inputs=inputs, beside={"length": np.asarray([float(len(s)) for s in sequences])})


def voices(kept: Path) -> Raw:
    """2,831 prompts in five languages; second voices of three languages are the natural drift."""
    objects = objects_of("prompts", kept)
    header, rows = _table(objects["prompts/prompts.csv"])
    inputs = np.stack([_bands(objects[f"prompts/{row[header.index('file')]}"]) for row in rows])
    names, languages = ([row[header.index(column)] for row in rows] for column in ("voice", "language"))
    said = Counter(zip(languages, names, strict=True))
    main = {language: voice for (language, voice), _ in reversed(said.most_common())}  # the most frequent is last
    second = [voice != main[language] for voice, language in zip(names, languages, strict=True)]
    return Raw(name="voices", y=_codes(languages), inputs=inputs, later=np.asarray(second))


def _bands(data: bytes) -> Array:
    """(2 * BANDS,) mean and spread of the logarithm of the energy in bands of a WAV of 8 kHz."""
    with wave.open(io.BytesIO(data)) as opened:
        samples = np.frombuffer(opened.readframes(opened.getnframes()), dtype=np.int16) / 32768
    samples = np.pad(samples, (0, max(0, 512 - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(samples, 256)[::128] * np.hanning(256)
    power = np.abs(np.fft.rfft(frames, axis=1)[:, 1:]) ** 2
    bands = np.log(power.reshape(len(frames), BANDS, -1).mean(axis=2) + 1e-8)
    loud = bands[bands.mean(axis=1) >= np.quantile(bands.mean(axis=1), 0.3)]
    return np.concatenate([loud.mean(axis=0), loud.std(axis=0)])


def ratings(kept: Path) -> Raw:
    """100,000 ratings of films in the order of their time: is it 4 or 5? The last quarter is the natural drift."""
    objects = objects_of("movielens", kept)
    lines = [line.split("\t") for line in objects["movielens/ratings/u.data"].decode().splitlines()]
    lines.sort(key=lambda line: int(line[3]))
    header, people = _table(objects["movielens/people/people.csv"])
    who = {row[header.index("user_id")]: row for row in people}
    header_of_films, films = _table(objects["movielens/films/films.csv"])
    what = {row[0]: row for row in films}
    year = header_of_films.index("release_year")
    kinds = header_of_films.index("class")
    fields = {
        "age": np.asarray([float(who[line[0]][header.index("age")]) for line in lines]),
        "year": np.asarray([_number(what[line[1]][year]) for line in lines]),
        "hour": np.asarray([int(line[3]) // 3600 % 24 for line in lines], dtype=float),
        "gender": _words([who[line[0]][header.index("gender")] for line in lines]),
        "occupation": _words([who[line[0]][header.index("occupation")] for line in lines]),
        "kind": _words([what[line[1]][kinds].split(" ")[0] for line in lines]),
    }  # fmt: skip
    later = np.arange(len(lines)) >= 0.75 * len(lines)
    return Raw(name="ratings", y=np.asarray([int(int(line[2]) >= 4) for line in lines]), fields=fields, later=later)


def years(kept: Path) -> Raw:
    """100,004 ratings of films over 21 years in the order of their time: is it 4 or more? What came after the first
    three quarters, by other people on other films, is the natural drift."""
    frame = _dslabs(kept, "movielens").dropna(subset=["year"]).sort_values("timestamp", kind="stable")
    moments = frame["timestamp"].to_numpy(dtype=np.int64)
    fields = {
        "year": frame["year"].to_numpy(dtype=float),
        "hour": (moments // 3600 % 24).astype(float),
        "kind": _words([str(one).split("|")[0] for one in frame["genres"]]),
        "kinds": np.asarray([float(str(one).count("|") + 1) for one in frame["genres"]]),
    }  # fmt: skip
    later = np.arange(len(frame)) >= 0.75 * len(frame)
    return Raw(name="years", y=(frame["rating"].to_numpy() >= 4).astype(int), fields=fields, later=later)


def _dslabs(kept: Path, name: str) -> Any:
    """A data frame of the R package dslabs (Debian), out of its lazy-load database."""
    import rdata

    package, folder = Package(client="apt", name="r-cran-dslabs"), "usr/lib/R/site-library/dslabs/data/Rdata"
    files = files_of(archive_of(package, kept), str(package), lambda one: one.startswith(folder))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that a kind and an encoding are assumed

        def read(data: bytes) -> Any:
            return rdata.conversion.convert(rdata.parser.parse_data(data))

        start, length = read(files[f"{folder}.rdx"])["variables"][name]
        # behind the size of what is unpacked
        return read(zlib.decompress(files[f"{folder}.rdb"][start + 4 : start + length]))


def _number(word: str) -> float:
    return float(word) if word.isdigit() else float("nan")


def _words(words: list[str]) -> Array:
    return np.asarray([word or None for word in words], dtype=object)


def _codes(words: list[str]) -> Array:
    return np.unique(words, return_inverse=True)[1]


def _table(data: bytes) -> tuple[list[str], list[list[str]]]:
    header, *rows = csv.reader(io.StringIO(data.decode()))
    return header, rows


RAW: dict[str, Callable[[Path], Raw]] = {
    "synthetic": synthetic, "letters": letters, "income": income, "pictures": mnist, "texts": glosses,
    "peptides": peptides, "voices": voices, "ratings": ratings, "years": years,
}  # fmt: skip
