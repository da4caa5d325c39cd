"""Texts become numbers of tokens: pieces of words that the training rows made frequent (byte-level BPE), or words.

Numbers below 3 are no words: 0 fills batches up, 1 is a word that training did not see, 2 stands alone for a text
without any token.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, islice
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from mlratchet.models.config import StrictModel
from mlratchet.models.preparation.base import Feature, Pass, PiecewisePreparation, State, tensor_name
from mlratchet.models.preparation.cells import column_of, values_of
from mlratchet.models.preparation.meaning import Meaning
from mlratchet.models.preparation.samples import TextSample
from mlratchet.models.preparation.vocabulary import chosen
from mlratchet.models.tensors.named import Inputs, Ragged
from mlratchet.models.tensors.spec import TensorSpec
from pydantic import Field
from typing_extensions import override

UNKNOWN, EMPTY, FIRST = 1, 2, 3
WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")  # a word with its apostrophes, or one sign
BLOCK = 1_000  # texts that are cut into tokens at once: what the tokenizer says of each is larger than the text
BYTES = 256  # pieces of one byte, which every vocabulary of BPE has

Array = np.ndarray[Any, Any]
Encode = Callable[[list[str]], list[list[int]]]  # texts -> places in the list of tokens, -2 for what is unknown


class TextOptions(StrictModel):
    """How a text is prepared."""

    tokens: Literal["bpe", "words"] = "bpe"
    """bpe: pieces of words, down to bytes, so that nothing is unknown; words: as Unicode has them, and single signs."""
    vocabulary: Annotated[int, Field(ge=BYTES, le=1_000_000)] = 8_000
    """The most different tokens."""
    min_count: Annotated[int, Field(ge=1)] = 2
    """How often a word, or a pair that becomes a piece, has to occur in the sample."""
    lowercase: bool = False
    """Whether capitals are small letters."""
    max_length: Annotated[int, Field(ge=1)] = 256
    """Tokens of a text that are used, from its beginning."""
    max_characters: Annotated[int, Field(ge=1)] = 100_000
    """Characters of a text that are read, from its beginning."""
    sample_mb: Annotated[int, Field(ge=1, le=4096)] = 16
    """Megabytes of training texts that the vocabulary is fitted on; of more, a sample by checksum."""


class TextPreparation(PiecewisePreparation):
    """One text -> a ragged tensor of its name: int64 tokens."""

    Options = TextOptions
    options: TextOptions

    def begin(self) -> Pass:
        """Take a sample."""
        return _Texts(next(iter(self.fields)), self.options)

    def apply(self, examples: pa.Table, state: State) -> Inputs:
        """As `Preparation.apply`."""
        ((name, kind),) = self.fields.items()
        return self._encoded(values_of(examples, name, kind), state)

    @override
    def apply_few(self, columns: Mapping[str, list[Any]], state: State) -> Inputs:
        """As `Preparation.apply_few`."""
        (name,) = self.fields
        return self._encoded(columns[name], state)

    def _encoded(self, given: list[Any], state: State) -> Inputs:
        (name,) = self.fields
        encode = state.once("encode", lambda: _encoder(state, self.options))
        texts = [normal(one or "", self.options) for one in given]
        blocks = [self._tokens(encode(texts[at : at + BLOCK])) for at in range(0, len(texts), BLOCK)]
        lengths = [one for _, block in blocks for one in block]
        values = np.concatenate([one for one, _ in blocks]) if blocks else np.zeros(0, dtype=np.int64)
        return Inputs({tensor_name(name): Ragged(values, np.cumsum([0, *lengths], dtype=np.int64))})

    def _tokens(self, rows: list[list[int]]) -> tuple[Array, list[int]]:
        """Of all rows one after the other, and how many each has."""
        cut = [one[: self.options.max_length] or [EMPTY - FIRST] for one in rows]
        return np.fromiter(chain.from_iterable(cut), dtype=np.int64) + FIRST, list(map(len, cut))

    @override
    def tensors(self, state: State) -> tuple[TensorSpec, ...]:
        """As `Preparation.tensors`."""
        return (TensorSpec(name=tensor_name(next(iter(self.fields))), shape=(), dtype="int64", ragged=True),)

    @override
    def features(self, state: State) -> tuple[Feature, ...]:
        """One."""
        (name,) = self.fields
        size = FIRST + len(state.document["tokens"])
        return (Feature(name=name, field=name, tensor=tensor_name(name), size=size),)

    @override
    def meanings(self, state: State) -> tuple[Meaning, ...]:
        """Tokens by code."""
        words = self.options.tokens == "words"
        codes = ("\0nothing", "\0unknown", "\0empty", *state.document["tokens"])
        form = f"{self.options.tokens} {'lowercase' if self.options.lowercase else ''}"
        return (Meaning(name=next(iter(self.fields)), form=form, codes=codes, unknown=UNKNOWN if words else None),)


def normal(text: str, options: TextOptions) -> str:
    """Composed (Unicode NFC), and as the options say."""
    cut = unicodedata.normalize("NFC", text[: options.max_characters])
    return cut.lower() if options.lowercase else cut


class _Texts(Pass):
    def __init__(self, field: str, options: TextOptions) -> None:
        self.field, self.options = field, options
        self.sample = TextSample(options.sample_mb * 1_000_000)

    def see(self, piece: pa.Table) -> None:
        for text in column_of(piece, self.field).drop_null().to_pylist():
            self.sample.add(normal(text, self.options))

    def end(self) -> State:
        texts = self.sample.texts()
        if self.options.tokens == "words":
            counts = Counter(word for text in texts for word in WORD.findall(text))
            return State(
                document={"tokens": chosen(counts, least=self.options.min_count, most=self.options.vocabulary)}
            )
        return State(document=_trained(texts, self.options))


def _trained(texts: Sequence[str], options: TextOptions) -> dict[str, Any]:
    """Pieces in the order of their numbers, and the pairs that were joined, in order."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=options.vocabulary,
        min_frequency=options.min_count,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    pairs = [one.split(" ") if isinstance(one, str) else list(one) for one in model["merges"]]
    return {"tokens": sorted(model["vocab"], key=model["vocab"].__getitem__), "pairs": pairs}


def _encoder(state: State, options: TextOptions) -> Encode:
    codes = {token: code for code, token in enumerate(state.document["tokens"])}
    if options.tokens == "words":
        most = options.max_length
        return lambda texts: [
            [codes.get(found[0], UNKNOWN - FIRST) for found in islice(WORD.finditer(text), most)] for text in texts
        ]
    from tokenizers import Tokenizer, models, pre_tokenizers

    pairs = [(first, second) for first, second in state.document["pairs"]]
    tokenizer = Tokenizer(models.BPE(vocab=codes, merges=pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return lambda texts: [one.ids for one in tokenizer.encode_batch_fast(texts)]
