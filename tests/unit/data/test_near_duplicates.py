"""Records that are alike within a declared distance, whatever order they come in and however many they are."""

from __future__ import annotations

import base64
import hashlib
import io
import time
from typing import Any

import numpy as np
import orjson
import pytest
from mlratchet.models.data.config import NearDuplicates
from mlratchet.models.data.near_duplicates import clusters_of
from mlratchet.models.data.sketches.minhash import minhash, similarity
from mlratchet.models.schema.fields import Schema
from mlratchet.models.sources.record import Record
from mlratchet.models.sources.stored_examples import EXAMPLE
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits

WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("n", "rt", "ll", "st")]


def example(identity: str, **values: Any) -> Record:
    data = orjson.dumps(values)
    x = {EXAMPLE: np.frombuffer(data, dtype=np.uint8)}
    return Record(id=identity, x=x, y=0, content_sha256=hashlib.sha256(data).hexdigest())


def sentence(rng: np.random.Generator, words: int = 12) -> str:
    return " ".join(rng.choice(WORDS, words))


def picture(seed: int, *, size: int = 64, shift: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    image = Image.new("L", (64, 64), 30)
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        left, top = (int(one) for one in rng.integers(0, 44, 2))
        wide, high = (int(one) for one in rng.integers(8, 20, 2))
        draw.rectangle((left, top, left + wide, top + high), fill=int(rng.integers(60, 230)))
    return image.point(lambda value: min(255, value + shift)).resize((size, size))


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> str:
    held = io.BytesIO()
    image.save(held, kind, **options)
    return base64.b64encode(held.getvalue()).decode()


def test_texts_that_differ_in_a_word_are_one_cluster_and_others_are_none() -> None:
    rng = np.random.default_rng(1)
    texts = {f"t{n:03d}": sentence(rng, 30) for n in range(300)}
    words = texts["t007"].split()
    near = {"x1": " ".join([*words[:-1], "other"]), "x2": texts["t009"].upper().replace(" ", "  "), "x3": texts["t011"]}
    found = clusters_of([example(one, note=text) for one, text in (texts | near).items()])
    assert found == {"t007": "t007", "x1": "t007", "t009": "t009", "x2": "t009", "t011": "t011", "x3": "t011"}


def test_the_order_of_records_changes_nothing() -> None:
    rng = np.random.default_rng(2)
    base = [sentence(rng, 60) for _ in range(40)]
    records = [
        example(f"r{n:04d}", note=" ".join(np.roll(base[n % 40].split(), n // 40 % 2)) + (" end" if n % 3 else ""))
        for n in range(400)
    ]
    found = clusters_of(records)
    assert len(set(found.values())) == 40
    for seed in range(3):
        shuffled = [records[place] for place in np.random.default_rng(seed).permutation(len(records))]
        assert clusters_of(shuffled) == found


def test_what_is_no_text_has_to_be_equal() -> None:
    text = "one and the same remark of a person who was content with it"
    records = [
        example("a", note=text, price=1.0), example("b", note=text + "!", price=2.0),
        example("c", note=text + "!", price=1.0), example("d", price=1.0), example("e", price=1.0),
    ]  # fmt: skip
    found = clusters_of(records)
    assert found == {"a": "a", "c": "a", "d": "d", "e": "d"}


def test_the_declared_similarity_decides() -> None:
    rng = np.random.default_rng(3)
    words = sentence(rng, 40).split()
    pair = [example("a", note=" ".join(words)), example("b", note=" ".join([*words[:30], *sentence(rng, 10).split()]))]
    assert clusters_of(pair, NearDuplicates(similarity=0.5)) == {"a": "a", "b": "a"}
    assert clusters_of(pair, NearDuplicates(similarity=0.9)) == {}


def test_sequences_are_compared_by_the_letters_that_the_schema_names() -> None:
    schema = Schema.model_validate({"fields": {"s": {"kind": "letters", "alphabet": "protein"}}})
    peptide = "GIGKFLHSAKKFGKAFVGEIMNSRWQTYPL"
    records = [example("a", s=peptide), example("b", s=peptide[:-1] + "A"), example("c", s=peptide[::-1])]
    assert clusters_of(records, schema=schema) == {"a": "a", "b": "a"}
    assert clusters_of([example("a", s="KKLL"), example("b", s="KKLM")], schema=schema) == {}


def test_pictures_saved_otherwise_are_near_and_other_pictures_are_not() -> None:
    records = [example(f"p{n:03d}", shown=encoded(picture(n))) for n in range(60)]
    again = {
        "x1": encoded(picture(3, size=96)),
        "x2": encoded(picture(4), "JPEG", quality=60),
        "x3": encoded(picture(5, shift=12)),
    }
    found = clusters_of([*records, *(example(one, shown=data) for one, data in again.items())])
    assert found == {"p003": "p003", "x1": "p003", "p004": "p004", "x2": "p004", "p005": "p005", "x3": "p005"}


def test_digits_of_other_people_are_no_near_duplicates() -> None:
    images = load_digits().images.astype(np.float32) / 16.0
    records = [Record(id=f"d{n:04d}", x=one[None], y=0) for n, one in enumerate(images)]
    extra = Record(id="x", x=records[17].x * 0.9, y=0)
    found = clusters_of([*records, extra])
    assert found["x"] == found["d0017"]
    assert len(found) <= 20  # 2 of 1,797 differ in a pixel


def test_numbers_are_equal_or_not() -> None:
    rows = [np.asarray(one, dtype=np.float32) for one in ([1, 2], [1, 2], [1, 2.0001])]
    found = clusters_of([Record(id=f"r{n}", x=x, y=0) for n, x in enumerate(rows)])
    assert found == {"r0": "r0", "r1": "r0"}
    assert clusters_of([]) == {}


@pytest.mark.parametrize("shared", [0.5, 0.8, 0.95])
def test_the_estimate_is_the_jaccard_similarity(shared: float) -> None:
    rng = np.random.default_rng(4)
    errors = []
    for _ in range(40):
        ours = rng.choice(2**40, 400, replace=False)
        theirs = ours.copy()
        changed = round(400 * (1 - shared) / (1 + shared))
        theirs[:changed] += 2**40
        texts = [b"".join(int(one).to_bytes(6, "big") for one in values) for values in (ours, theirs)]
        sets = [{text[at : at + 5] for at in range(len(text) - 4)} for text in texts]
        true = len(sets[0] & sets[1]) / len(sets[0] | sets[1])
        sketches = minhash(texts, 5)
        errors.append(float(similarity(sketches[:1], sketches[1:])[0]) - true)
    assert abs(np.mean(errors)) < 0.03
    assert np.std(errors) < 0.09


@pytest.mark.slow
def test_a_hundred_thousand_texts_take_seconds() -> None:
    rng = np.random.default_rng(5)
    places = rng.integers(0, len(WORDS), (50_000, 9))
    texts = [" ".join(WORDS[one] for one in row) for row in places]
    records = [example(f"r{n}", note=text) for n, text in enumerate([*texts, *(one + "s" for one in texts)])]
    began = time.process_time()
    found = clusters_of(records)
    assert time.process_time() - began < 30
    assert len(found) > 90_000
