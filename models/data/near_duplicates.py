"""Near-duplicates of a delivery: records whose texts, sequences or pictures are alike within a declared distance.

What is compared is a sketch of each record, so that a million of them take about 100 MB; what is no text, sequence or
picture has to be equal.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import orjson
from mlratchet.models.data.config import NearDuplicates
from mlratchet.models.data.sketches import minhash, pictures
from mlratchet.models.data.sketches.pairs import joined, near_pairs
from mlratchet.models.schema.fields import Schema
from mlratchet.models.sources.record import Record, arrays_of
from mlratchet.models.sources.stored_examples import EXAMPLE

TEXT_SHINGLE, LETTERS_SHINGLE, BASES_SHINGLE = 5, 4, 8  # characters; of few letters longer ones, or all are alike
FEW_LETTERS = 6
LONG = 20  # characters from which a word counts as a text where no schema says so
PIECE = 8192  # records that are sketched together
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*")
Kind = Literal["text", "picture"]
Array = np.ndarray[Any, Any]


AS_USUAL = NearDuplicates()


def clusters_of(
    records: Iterable[Record], config: NearDuplicates = AS_USUAL, schema: Schema | None = None
) -> dict[str, str]:
    """Record id -> id of its cluster, the smallest id in it; only of those that have a near-duplicate or an equal.

    `records` are read twice, in the same order. The answer depends on what they hold, not on their order. `schema` says
    which fields are texts, sequences and pictures; without it long words are texts.
    """
    numbers = numbered(records, config, schema)
    members: dict[int, list[str]] = {}
    several = np.bincount(numbers, minlength=1)[numbers] > 1 if len(numbers) else numbers
    for record, number, has_others in zip(records, numbers, several, strict=True):
        if has_others:
            members.setdefault(int(number), []).append(record.id)
    return {one: min(ids) for ids in members.values() for one in ids}


def numbered(records: Iterable[Record], config: NearDuplicates = AS_USUAL, schema: Schema | None = None) -> Array:
    """The number of the cluster of every record (N,), in their order."""
    sketches = _Sketches()
    piece: list[Content] = []
    for record in records:
        piece.append(content_of(record, schema))
        if len(piece) == PIECE:
            sketches.add(piece)
            piece = []
    sketches.add(piece)
    return sketches.clusters(config)


@dataclass(frozen=True, kw_only=True)
class Content:
    """What of a record is compared."""

    equal: int  # 64 bits: digest of all of it
    rest: int  # 64 bits: digest of what has to be equal
    texts: tuple[bytes, ...] = ()
    shingle: int = TEXT_SHINGLE
    picture: Array | None = None


def content_of(record: Record, schema: Schema | None = None) -> Content:
    """Of one record, as a preparation or a model would get it."""
    held = record.x.get(EXAMPLE) if isinstance(record.x, Mapping) else None
    if held is not None:
        return _of_example(np.asarray(held).tobytes(), schema)
    arrays = arrays_of(record.x)
    equal = _digest(*(one.tobytes() for one in arrays))
    x = record.x
    if isinstance(x, np.ndarray) and x.ndim == 3 and x.shape[0] in (1, 3, 4) and min(x.shape[1:]) >= 8:
        return Content(equal=equal, rest=0, picture=pictures.sketch_of_array(x))
    return Content(equal=equal, rest=equal)


def _of_example(data: bytes, schema: Schema | None) -> Content:
    texts: list[bytes] = []
    rest: list[bytes] = []
    picture, shingle = None, 0
    for name, value in sorted(orjson.loads(data).items()):
        kind, length = _kind(name, value, schema)
        if kind == "text":
            texts.append(_plain(value))
            shingle = max(shingle, length)
            continue
        sketch = pictures.sketch_of_bytes(base64.b64decode(value)) if kind == "picture" and picture is None else None
        if sketch is None:
            rest.append(orjson.dumps([name, value]))
        else:
            picture = sketch
    rest_digest = _digest(*rest)
    if not texts and picture is None:
        rest_digest = _digest(data)
    return Content(
        equal=_digest(data), rest=rest_digest, texts=tuple(texts), shingle=shingle or TEXT_SHINGLE, picture=picture
    )


def _plain(text: str) -> bytes:
    """Without what writing differs in: capitals and blanks."""
    return " ".join(text.casefold().split()).encode()


def _kind(name: str, value: Any, schema: Schema | None) -> tuple[Kind | None, int]:
    """As what a value is compared, and the length of its shingles."""
    if not isinstance(value, str):
        return None, 0
    known = schema.fields.get(name) if schema is not None else None
    if known is not None:
        few = known.letters is not None and len(known.letters) <= FEW_LETTERS
        letters = BASES_SHINGLE if few else LETTERS_SHINGLE
        found: dict[str, tuple[Kind, int]] = {
            "text": ("text", TEXT_SHINGLE), "letters": ("text", letters), "image": ("picture", 0),
        }  # fmt: skip
        return found.get(known.kind, (None, 0))
    if len(value) < LONG:
        return None, 0
    return _looks(value)


def _looks(value: str) -> tuple[Kind | None, int]:
    if " " not in value[:200] and len(value) % 4 == 0:  # base64, as bytes stand in an example
        try:
            start = base64.b64decode(value[:16], validate=True)
        except ValueError:
            start = b""
        if start.startswith(_PICTURES) and not value.startswith("UklGR"):  # RIFF is WebP or a sound
            return "picture", 0
        if start.startswith((b"RIFF", b"fLaC", b"OggS")):
            return None, 0
    return "text", TEXT_SHINGLE if " " in value else LETTERS_SHINGLE


def _digest(*parts: bytes) -> int:
    hashed = hashlib.sha256()
    for one in parts:
        hashed.update(len(one).to_bytes(8))
        hashed.update(one)
    return int.from_bytes(hashed.digest()[:8])


@dataclass
class _Sketches:
    """Of all records, in arrays."""

    equal: list[Array] = field(default_factory=list)
    rest: list[Array] = field(default_factory=list)
    text_rows: list[Array] = field(default_factory=list)  # numbers of the records that have one
    texts: list[Array] = field(default_factory=list)
    picture_rows: list[Array] = field(default_factory=list)
    pictures: list[Array] = field(default_factory=list)
    count: int = 0

    def add(self, piece: list[Content]) -> None:
        """Sketch a piece."""
        if not piece:
            return
        self.equal.append(np.asarray([one.equal for one in piece], dtype=np.uint64))
        self.rest.append(np.asarray([one.rest for one in piece], dtype=np.uint64))
        for length in sorted({one.shingle for one in piece}):
            rows = [row for row, one in enumerate(piece) if one.texts and one.shingle == length]
            if rows:
                self.text_rows.append(np.asarray(rows) + self.count)
                self.texts.append(minhash.minhash([b"\n".join(piece[row].texts) for row in rows], length))
        shown = [(row + self.count, one.picture) for row, one in enumerate(piece) if one.picture is not None]
        if shown:
            self.picture_rows.append(np.asarray([row for row, _ in shown]))
            self.pictures.append(np.stack([sketch for _, sketch in shown]))
        self.count += len(piece)

    def clusters(self, config: NearDuplicates) -> Array:
        """The number of the cluster of every record."""
        if not self.count:
            return np.empty(0, dtype=np.int64)
        equal, rest = np.concatenate(self.equal), np.concatenate(self.rest)
        _, first, which = np.unique(equal, return_index=True, return_inverse=True)
        pairs = [(first[which], np.arange(self.count)), *self._near(config, equal, rest, first)]
        return joined(self.count, pairs)

    def _near(self, config: NearDuplicates, equal: Array, rest: Array, first: Array) -> Iterator[tuple[Array, Array]]:
        """Pairs of records that are not equal; of equal ones only the first is looked at."""
        leads = np.zeros(self.count, dtype=bool)
        leads[first] = True
        for held_rows, held in ((self.text_rows, self.texts), (self.picture_rows, self.pictures)):
            if not held:
                continue
            rows, sketches = np.concatenate(held_rows), np.concatenate(held)
            chosen = np.flatnonzero(leads[rows])
            rows, sketches = rows[chosen], sketches[chosen]
            texts = held is self.texts

            def near(ours: Array, theirs: Array, rows: Array = rows, of: Array = sketches, t: bool = texts) -> Array:
                same = rest[rows[ours]] == rest[rows[theirs]]
                if t:
                    return np.asarray(same & (minhash.similarity(of[ours], of[theirs]) >= config.similarity))
                return np.asarray(same & pictures.are_near(of[ours], of[theirs], config.picture_bits))

            keys = minhash.bands(sketches) if texts else pictures.orders(sketches)
            left, right = near_pairs(keys, equal[rows], near, same_key=texts)
            yield rows[left], rows[right]
