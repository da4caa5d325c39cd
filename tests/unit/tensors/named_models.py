"""Workloads as a user would write them whose rows are several tensors, or one of any length."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from mlratchet.models.sources.record import RawObject, Record, Reject
from mlratchet.models.tensors.spec import TensorSpec
from mlratchet.models.workloads.base import Workload
from torch import nn

PEOPLE, TITLES, WORDS = 20, 30, 50
USER = TensorSpec(name="user", shape=(), dtype="int64", value_range=(0, PEOPLE - 1))
ITEM = TensorSpec(name="item", shape=(), dtype="int64", value_range=(0, TITLES - 1))
TOKENS = TensorSpec(name="words", shape=(), dtype="int64", ragged=True, value_range=(0, WORDS - 1))


class Lines(Workload):
    """JSON lines: every tensor by its name, and the label."""

    task = "classification"
    takes: tuple[TensorSpec, ...]

    def tensors(self) -> tuple[TensorSpec, ...]:
        return self.takes

    def class_names(self) -> tuple[str, ...]:
        return ("no", "yes")

    def records(
        self,
        objects: list[RawObject],
        fetch: Callable[[RawObject], bytes],
        source: Mapping[str, Any],
    ) -> Iterator[Record | Reject]:
        for one in objects:
            for number, line in enumerate(fetch(one).decode().splitlines(), 1):
                row = json.loads(line)
                x = {spec.name: np.asarray(row[spec.name]) for spec in self.takes if spec.name in row}
                yield Record(
                    id=row["id"], x=x, y=int(row["label"]), content_sha256=row["id"], where=f"{one.key}:{number}"
                )


class Towers(nn.Module):
    """A user's and an item's vector; their product says whether they like each other."""

    def __init__(self) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(PEOPLE, 8), nn.Embedding(TITLES, 8)
        self.dropout, self.head = nn.Dropout(0.1), nn.Linear(8, 2)

    def forward(self, item: torch.Tensor, user: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.dropout(self.users(user) * self.items(item)))
        return out


class TwoTowers(Lines):
    """Two whole numbers a row."""

    takes = (USER, ITEM)

    def build_model(self) -> nn.Module:
        return Towers()


def mean_of(vectors_BTE: torch.Tensor, lengths_B: torch.Tensor) -> torch.Tensor:
    inside_BT = torch.arange(vectors_BTE.shape[1], device=vectors_BTE.device) < lengths_B[:, None]
    total = (vectors_BTE * inside_BT[..., None]).sum(dim=1)
    return total / lengths_B.clamp(min=1)[:, None]


class Bag(nn.Module):
    """The mean of a text's word vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.normal, self.head = nn.Embedding(WORDS, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)

    def forward(self, words: torch.Tensor, words_lengths: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.normal(mean_of(self.words(words), words_lengths)))
        return out


class Texts(Lines):
    """Word numbers, as many as a text has."""

    takes = (TOKENS,)

    def build_model(self) -> nn.Module:
        return Bag()


class Both(nn.Module):
    """Who reads, and what."""

    def __init__(self) -> None:
        super().__init__()
        self.users, self.words, self.head = nn.Embedding(PEOPLE, 8), nn.Embedding(WORDS, 8), nn.Linear(16, 2)

    def forward(self, user: torch.Tensor, words: torch.Tensor, words_lengths: torch.Tensor) -> torch.Tensor:
        read = mean_of(self.words(words), words_lengths)
        out: torch.Tensor = self.head(torch.cat([self.users(user), read], dim=1))
        return out


class Readers(Lines):
    """A whole number and a ragged tensor."""

    takes = (USER, TOKENS)

    def build_model(self) -> nn.Module:
        return Both()


class Forgetful(Readers):
    """Some words are unknown in training."""

    def augment(self, x: dict[str, np.ndarray[Any, Any]], rng: np.random.Generator) -> dict[str, np.ndarray[Any, Any]]:
        words = x["words"].copy()
        words[rng.random(words.shape) < 0.3] = 0
        return {**x, "words": words}


class Careless(nn.Module):
    """Its mean is over the padding, too."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(WORDS, 8), nn.Linear(8, 2)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.words(words).mean(dim=1))
        return out


class PaddingCounts(Texts):
    def build_model(self) -> nn.Module:
        return Careless()


class OtherNames(TwoTowers):
    def build_model(self) -> nn.Module:
        return Bag()


class NoIdentifier(TwoTowers):
    takes = (TensorSpec(name="the user", shape=(), dtype="int64"), ITEM)


class OnlyX(Lines):
    """One tensor, which has the name that it would have without one."""

    takes = (TensorSpec(name="x", shape=(2,), dtype="float32"),)

    def build_model(self) -> nn.Module:
        return nn.Linear(2, 2)


class SaysNothing(Workload):
    """Neither input_spec nor tensors."""

    task = "classification"
    class_names = Lines.class_names
    records = Lines.records
    build_model = Texts.build_model


def lines(takes: tuple[TensorSpec, ...], count: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Rows whose label follows from all of their tensors."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        row: dict[str, Any] = {"id": f"r{number}"}
        evidence = 0.0
        for spec in takes:
            size = int(rng.integers(1, 9)) if spec.ragged else int(np.prod(spec.shape))
            values = rng.integers(0, int(spec.value_range[1]) + 1 if spec.value_range else 2, size)
            row[spec.name] = values.tolist() if spec.ragged or spec.shape else int(values[0])
            evidence += float(np.mean(values % 2)) - 0.5
        found.append({**row, "label": int(evidence > 0)})
    return found
