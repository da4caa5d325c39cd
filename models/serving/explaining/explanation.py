"""Why a version answers one example as it does: what of the answer is lost when a part of the example is taken away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from mlratchet.models.errors import RatchetError
from mlratchet.models.schema.request import parse_examples
from mlratchet.models.serving.explaining import plain
from mlratchet.models.serving.explaining.asking import Question, question_of
from mlratchet.models.serving.explaining.by_field import features_of, without_fields
from mlratchet.models.serving.explaining.by_place import is_picture, is_sound, places, stretches
from mlratchet.models.serving.explaining.by_word import WordSpan, stretches_of, texts_without, words_of
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.workloads.examples import Preparer, preparer_of

Json = dict[str, Any]


def explanation(predictor: Predictor, instances: list[Any] | None, rows: Inputs, wanted: Callable[[], bool]) -> Json:
    """The answer to the one row, and what adds to it. `instances`: the example as JSON has it, of which the words are
    looked at; `wanted`: asked while it is computed.

    Raises ``UnwantedError``, and what the model raises for the row.
    """
    (answer,) = predictor.predict(rows)
    question = question_of(predictor, answer, wanted)
    return {
        "prediction": answer,
        "version": predictor.version,
        "quantity": question.quantity,
        **_why(question, instances, rows),
    }


def _why(question: Question, instances: list[Any] | None, rows: Inputs) -> Json:
    spec = question.predictor.signature.input
    if spec.example is not None and question.predictor.preparer is None and instances:
        return _of_example(question, instances[0], rows, preparer_of(spec.example))
    if spec.kind == "image":
        return plain.pixels(question, rows)
    if spec.kind == "table" and spec.columns:
        return plain.columns(question, rows)
    return plain.parts(question, rows)


def _of_example(question: Question, example: Mapping[str, Any], rows: Inputs, preparer: Preparer) -> Json:
    features = features_of(preparer)
    without = without_fields(rows, features)
    effects = dict(zip(without, question.lost(rows, list(without.values())), strict=True))
    told: Json = {"fields": [{"field": name, "effect": effect} for name, effect in effects.items()]}
    for name, field in preparer.schema.inputs.items():
        tensors = [feature.tensor for feature in features[name]]
        if field.kind in ("text", "letters") and isinstance(example.get(name), str):
            spans = words_of(example[name]) if field.kind == "text" else stretches_of(example[name])
            told.setdefault("words", {})[name] = _words(question, example, rows, preparer, name, spans)
        elif field.kind == "image" and tensors and is_picture(rows, tensors[0]):
            changed, (high, wide) = places(rows, tensors[0])
            grid = np.asarray(question.lost(rows, changed)).reshape(high, wide)
            told.setdefault("pixels", {})[name] = plain.grid(grid)
        elif field.kind == "audio" and tensors and is_sound(rows, tensors[0]):
            variants, edges = stretches(rows, tensors[0])
            lost = question.lost(rows, variants)
            told.setdefault("stretches", {})[name] = [
                {"from": first, "to": last, "effect": one}
                for first, last, one in zip(edges, edges[1:], lost, strict=False)
            ]
    return {**told, "method": "each part taken away and the model asked again"}


def _words(
    question: Question, example: Mapping[str, Any], rows: Inputs, preparer: Preparer, name: str, spans: list[WordSpan]
) -> list[Json]:
    """Of one text. A part without which the text cannot be prepared (the only one) has the effect of the whole field
    and is left out."""
    texts = texts_without(example[name], spans)
    kept = [(span, text) for span, text in zip(spans, texts, strict=True) if text.strip()]
    if not kept:
        return []
    table = parse_examples([dict(example)] * len(kept), preparer.schema)
    column = pa.array([text for _, text in kept], table.schema.field(name).type)
    try:
        changed = preparer.prepared(table.set_column(table.column_names.index(name), name, column))
    except RatchetError:
        return []
    lost = question.lost(rows, [changed.rows(slice(at, at + 1)) for at in range(len(kept))])
    return [{"start": span.start, "end": span.end, "effect": one} for (span, _), one in zip(kept, lost, strict=True)]
