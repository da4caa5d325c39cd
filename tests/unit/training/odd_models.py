"""Workloads with one mistake each, as people make them, and others that look odd and are right."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mlratchet.models.workloads.base import InputSpec, Workload
from mlratchet.models.workloads.tabular import TableClassifier
from torch import nn


class Squeezed(nn.Module):
    def __init__(self, n: int, c: int) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv1d(1, 8, n), nn.Linear(8, c)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.conv(x.unsqueeze(1))).squeeze()
        return self.out(y)


class Squeeze(TableClassifier):
    def build_model(self) -> nn.Module:
        return Squeezed(len(self.columns), len(self.classes))


class Layered(nn.Module):
    """What most of them need."""

    def __init__(self, n: int, c: int) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(n, 8), nn.Linear(8, c)

    def forward(self, x: torch.Tensor) -> Any:
        return self.b(torch.relu(self.a(x)))


class Made(TableClassifier):
    kind: type[Layered] = Layered

    def build_model(self) -> nn.Module:
        return self.kind(len(self.columns), len(self.classes))


class OfLength(Layered):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.a(x)).view(len(x), -1)


class LenView(Made):
    kind = OfLength


class Spare(Layered):
    def __init__(self, n: int, c: int) -> None:
        super().__init__(n, c)
        self.spare = nn.Linear(8, 8)


class Unused(Made):
    kind = Spare


class TooMany(TableClassifier):
    def build_model(self) -> nn.Module:
        return Layered(len(self.columns), len(self.classes) + 2)


class Pair(Layered):
    def forward(self, x: torch.Tensor) -> Any:
        return self.b(self.a(x)), x


class Pairs(Made):
    kind = Pair


class Mismatched(Layered):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.a(x.T))


class Shapes(Made):
    kind = Mismatched


class ByCount(Layered):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = 2.0 if x.shape[0] > 3 else 1.0
        return self.b(self.a(x)) * scale


class Branch(Made):
    kind = ByCount


class ByValue(Layered):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.a(x)
        if y.sum() > 0:
            y = y * 2
        return self.b(y)


class DataBranch(Made):
    kind = ByValue


class AlwaysDropping(Layered):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.dropout(torch.relu(self.a(x)), 0.5)
        return self.b(y)


class EvalDropout(Made):
    kind = AlwaysDropping


class Embedded(Layered):
    """Its first column is the number of a category."""

    def __init__(self, n: int, c: int) -> None:
        super().__init__(n + 3, c)
        self.embed = nn.Embedding(2, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shops = self.embed(x[:, 0].long())
        return self.b(self.a(torch.cat([shops, x[:, 1:]], dim=1)))


class Embeds(Made):
    kind = Embedded


class Remembered(Layered):
    """Its own count of batches, in a set of extra state."""

    def __init__(self, n: int, c: int) -> None:
        super().__init__(n, c)
        self.seen = {"batches": 0}

    def get_extra_state(self) -> Any:
        return self.seen

    def set_extra_state(self, state: Any) -> None:
        self.seen = state


class Extra(Made):
    kind = Remembered


class Drifting(Layered):
    def __init__(self, n: int, c: int) -> None:
        super().__init__(n, c)
        self.register_buffer("mean", torch.zeros(n), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.mean.lerp_(x.mean(dim=0), 0.5)
        return self.b(self.a(x - self.mean))


class NonPersistent(Made):
    kind = Drifting


class Counted(Layered):
    calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.calls += 1
        return self.b(self.a(x)) / (1 + self.calls)


class Counter(Made):
    kind = Counted


class Noisy(Layered):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            x = x + torch.from_numpy(np.random.default_rng().normal(size=tuple(x.shape)).astype(np.float32))
        return self.b(self.a(x))


class NumpyNoise(Made):
    kind = Noisy


class LossOfTypo(TableClassifier):
    def loss(self, output: torch.Tensor, target: torch.Tensor, *, label_smoothing: float) -> torch.Tensor:
        return nn.functional.cross_entropy(output, target.no_such_thing)


class Builds(TableClassifier):
    def build_model(self) -> nn.Module:
        return nn.Linear(self.no_columns, 2)  # type: ignore[attr-defined]  # the mistake


class LongName(TableClassifier):
    def class_names(self) -> tuple[str, ...]:
        return ("short", "mid", "x" * 256)


# ---- odd, and right ----


class Rescaled(Layered):
    """Constants that no weights hold, a cache, a tied weight, dropout and batch normalisation."""

    def __init__(self, n: int, c: int) -> None:
        super().__init__(n, c)
        self.register_buffer("scale", torch.arange(1.0, n + 1), persistent=False)
        self.norm, self.drop, self.tied = nn.BatchNorm1d(8), nn.Dropout(0.3), self.b
        self.last: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.drop(self.norm(self.a(x * self.scale)))
        if self.training:
            self.last = y.detach()
        return self.tied(y).view(x.shape[0], -1)


class Odd(Made):
    kind = Rescaled


class Words(Workload):
    """Numbers of words into an embedding, attention over them."""

    task = "classification"

    def __init__(self, *, classes: list[str]) -> None:
        self.classes = tuple(classes)

    def input_spec(self) -> InputSpec:
        return InputSpec(kind="tensor", shape=(6,), dtype="int64")

    def class_names(self) -> tuple[str, ...]:
        return self.classes

    def records(self, objects: Any, fetch: Any, source: Any) -> Any:
        raise NotImplementedError

    def build_model(self) -> nn.Module:
        return Attention(len(self.classes))


class Attention(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.embed, self.out = nn.Embedding(30, 16), nn.Linear(16, classes)
        self.layer = nn.TransformerEncoderLayer(16, 2, dim_feedforward=32, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.out(self.layer(self.embed(x)).mean(dim=1))
        return output


class Tally(torch.optim.SGD):
    """Counts its steps where nobody saves them."""

    count = 0

    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        self.count += 1
        return super().step(closure)


def tally(groups: Any, rate: float, decay: float) -> torch.optim.Optimizer:
    return Tally(groups, lr=rate)


class ByKey(Layered):
    """Parts under keys of a mapping, as people call them."""

    key = "plain"

    def __init__(self, n: int, c: int) -> None:
        super().__init__(n, c)
        self.parts = nn.ModuleDict({self.key: nn.Linear(8, 8)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.parts[self.key](torch.relu(self.a(x))))


class OfHyphen(ByKey):
    key = "per-line"


class Hyphen(Made):
    kind = OfHyphen


class OfUmlaut(ByKey):
    key = "größe"


class Umlaut(Made):
    kind = OfUmlaut


class OfSpaced(Layered):
    def __init__(self, n: int, c: int) -> None:
        super().__init__(n, c)
        self.register_buffer("two words", torch.ones(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(torch.relu(self.a(x)) * self.get_buffer("two words"))


class Spaced(Made):
    kind = OfSpaced


class OfUnwritten(Layered):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.b(torch.relu(self.a(x)))
        return torch.empty_strided(y.shape, (y.shape[1], 1)).copy_(y)


class Unwritten(Made):
    kind = OfUnwritten


class OfMapped(Layered):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.vmap(lambda row: self.b(torch.relu(self.a(row))))(x)


class Mapped(Made):
    kind = OfMapped


class OfRoot(Layered):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(torch.relu(self.a(x))) / x.shape[0] ** 0.5 * x.shape[0] ** 0.5


class Root(Made):
    """Takes a root of a size."""

    kind = OfRoot


class OfRemembering(Layered):
    def __init__(self, n: int, c: int) -> None:
        super().__init__(n, c)
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            self.get_buffer("seen").add_(1e-6)
        return self.b(torch.relu(self.a(x))) + self.get_buffer("seen")


class Remembers(Made):
    """Answers by what it was asked before."""

    kind = OfRemembering


class OfHalving(Layered):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x.mul_(0.5)
        return self.b(torch.relu(self.a(x)))


class Halves(Made):
    """Overwrites what it is given."""

    kind = OfHalving
