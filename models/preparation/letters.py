"""Sequences of letters (DNA, proteins): a column per letter, or a number per run of k letters.

Shape legend: A letters of the alphabet, L letters of all rows together.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from mlratchet.models.config import StrictModel
from mlratchet.models.errors import ConfigurationError, DataError
from mlratchet.models.preparation.base import Feature, Pass, PiecewisePreparation, State, tensor_name
from mlratchet.models.preparation.cells import column_of, values_of
from mlratchet.models.tensors.named import Inputs, Ragged
from mlratchet.models.tensors.spec import TensorSpec
from pydantic import Field
from typing_extensions import override

UNKNOWN, FIRST = 1, 2  # of k-mers: 0 fills up, 1 has a letter outside the alphabet
MOST_LETTERS, MOST_KMERS = 256, 1_000_000
COMPLEMENT = str.maketrans("ACGTURYKMSWBDHVN-", "TGCAAYRMKSWVHDBN-")  # IUPAC; U pairs with A

Array = np.ndarray[Any, Any]


class LetterOptions(StrictModel):
    """How a sequence is prepared."""

    encoding: Literal["one_hot", "kmers"] = "one_hot"
    """one_hot: float32, a column per letter; kmers: int64, a number per run of `k` letters, each one letter on."""
    k: Annotated[int, Field(ge=1, le=12)] = 3
    """Letters of a run."""
    reverse_complement: bool = False
    """Of DNA and RNA: a k-mer and its reverse complement have one number; one_hot has columns of both strands."""
    upper: bool = True
    """Whether small letters are capitals."""
    max_length: Annotated[int, Field(ge=1)] = 1024
    """Letters of a sequence that are used, from its beginning."""
    length: Annotated[int, Field(ge=1)] | None = None
    """Of every row: a shorter one is filled up with 0, a longer one cut. null: as long as the sequence is."""


class LetterPreparation(PiecewisePreparation):
    """One sequence -> a tensor of its name: (length, A) of one_hot, (length,) of kmers; a letter that is unknown is 0
    in all columns."""

    Options = LetterOptions
    options: LetterOptions

    def begin(self) -> Pass:
        """The letters, where the schema does not name them."""
        ((name, kind),) = self.fields.items()
        return _Letters(name, kind.letters, self.options)

    def apply(self, examples: pa.Table, state: State) -> Inputs:
        """As `Preparation.apply`."""
        ((name, kind),) = self.fields.items()
        alphabet = state.document["letters"]
        texts = [self._cut(one or "") for one in values_of(examples, name, kind)]
        places_L, ends = places_of(texts, alphabet)
        if self.options.encoding == "one_hot":
            found = one_hot(places_L, ends, alphabet, both=self.options.reverse_complement)
        else:
            found = kmers(places_L, ends, alphabet, self.options.k, canonical=self.options.reverse_complement)
        return Inputs(
            {tensor_name(name): found if self.options.length is None else _filled(found, self.options.length)}
        )

    def _cut(self, text: str) -> str:
        most = self.options.max_length
        cut = text[:most].upper()[:most] if self.options.upper else text[:most]  # a capital can be two letters
        return cut or "\0"  # no letter at all is one unknown letter

    @override
    def tensors(self, state: State) -> tuple[TensorSpec, ...]:
        """As `Preparation.tensors`."""
        name = tensor_name(next(iter(self.fields)))
        hot = self.options.encoding == "one_hot"
        columns = len(state.document["letters"]) * (2 if self.options.reverse_complement else 1)
        shape, dtype = ((columns,), "float32") if hot else ((), "int64")
        if self.options.length is None:
            return (TensorSpec(name=name, shape=shape, dtype=dtype, ragged=True),)
        return (TensorSpec(name=name, shape=(self.options.length, *shape), dtype=dtype),)

    @override
    def features(self, state: State) -> tuple[Feature, ...]:
        """One."""
        (name,) = self.fields
        size = FIRST + len(state.document["letters"]) ** self.options.k if self.options.encoding == "kmers" else None
        return (Feature(name=name, field=name, tensor=tensor_name(name), size=size),)


def places_of(texts: list[str], alphabet: str) -> tuple[Array, Array]:
    """(L,) int64 places in the alphabet, -1 outside, of all texts one after the other; and where each ends, from 0."""
    points_L = np.frombuffer("".join(texts).encode("utf-32-le", errors="surrogatepass"), dtype=np.uint32)
    known = np.array([ord(letter) for letter in alphabet], dtype=np.uint32)
    order = np.argsort(known)
    at_L = np.minimum(np.searchsorted(known[order], points_L), len(known) - 1)
    places_L = np.where(known[order][at_L] == points_L, order[at_L], -1)
    return places_L, np.cumsum([0, *map(len, texts)], dtype=np.int64)


def one_hot(places_L: Array, ends: Array, alphabet: str, *, both: bool) -> Ragged:
    """A column per letter; of `both` strands, then the columns of the reverse complement from its own beginning on."""
    rows = np.vstack([np.eye(len(alphabet), dtype=np.float32), np.zeros((1, len(alphabet)), dtype=np.float32)])
    found = rows[places_L]
    if both:
        lengths = np.diff(ends)
        mirrored_L = np.repeat(ends[:-1] + ends[1:] - 1, lengths) - np.arange(len(places_L))
        found = np.concatenate([found, rows[complements(alphabet)[places_L[mirrored_L]]]], axis=1)
    return Ragged(found, ends)


def kmers(places_L: Array, ends: Array, alphabet: str, k: int, *, canonical: bool) -> Ragged:
    """Numbers of the runs within each row; a row shorter than `k` is one unknown run."""
    lengths = np.diff(ends)
    padded = np.concatenate([places_L, np.full(k - 1, -1)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, k)
    weights = len(alphabet) ** np.arange(k - 1, -1, -1, dtype=np.int64)
    codes_L = windows @ weights
    if canonical:
        codes_L = np.minimum(codes_L, complements(alphabet)[windows[:, ::-1]] @ weights)
    codes_L = np.where((windows < 0).any(axis=1), UNKNOWN, codes_L + FIRST)
    counts = np.maximum(1, lengths - k + 1)
    new_ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
    at = np.repeat(ends[:-1], counts) + np.arange(new_ends[-1]) - np.repeat(new_ends[:-1], counts)
    short = np.repeat(lengths < k, counts)
    return Ragged(np.where(short, UNKNOWN, codes_L[at]), new_ends)


def complements(alphabet: str) -> Array:
    """(A + 1,) places of the letters that pair with each; -1, of an unknown one, stays it.

    Raises ``ConfigurationError`` for an alphabet that is none of DNA or RNA.
    """
    pairs: dict[int, Any] = {ord("A"): "U"} if "U" in alphabet and "T" not in alphabet else {}
    found = [alphabet.find(letter.translate(COMPLEMENT | pairs)) for letter in alphabet]
    lone = next((letter for letter, at in zip(alphabet, found, strict=True) if at < 0 or not _paired(letter)), None)
    if lone is not None:
        raise ConfigurationError(
            f"preparation: reverse_complement: letter {lone!r} of {alphabet!r} has no complement there; declare "
            "alphabet: dna or rna for the field, or leave reverse_complement out"
        )
    return np.array([*found, -1], dtype=np.int64)


def _paired(letter: str) -> bool:
    return ord(letter) in COMPLEMENT


def _filled(found: Ragged, length: int) -> Array:
    """(N, length, ...) with 0 behind the end of a row."""
    dense: Array = found.padded(least=length)[:, :length]
    return np.ascontiguousarray(dense)


class _Letters(Pass):
    def __init__(self, field: str, declared: str | None, options: LetterOptions) -> None:
        self.field, self.declared, self.options = field, declared, options
        self.seen: set[str] = set()

    def see(self, piece: pa.Table) -> None:
        if self.declared is None:
            for text in column_of(piece, self.field).drop_null().to_pylist():
                self.seen.update(text.upper() if self.options.upper else text)

    def end(self) -> State:
        declared = self.declared.upper() if self.declared and self.options.upper else self.declared
        letters = "".join(dict.fromkeys(declared if declared is not None else sorted(self.seen)))
        if not 0 < len(letters) <= MOST_LETTERS:
            raise DataError(
                f"preparation: field {self.field!r} has {len(letters)} different letters, expected 1 to "
                f"{MOST_LETTERS}; declare its alphabet, or kind: text"
            )
        if self.options.encoding == "kmers" and len(letters) ** self.options.k > MOST_KMERS:
            raise ConfigurationError(
                f"preparation: field {self.field!r}: {len(letters)} letters give {len(letters) ** self.options.k:,} "
                f"runs of {self.options.k}, expected at most {MOST_KMERS:,}; lower k"
            )
        if self.options.reverse_complement:
            complements(letters)
        return State(document={"letters": letters})
