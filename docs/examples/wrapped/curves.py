"""A torch Dataset that was there before, and the format that reads objects by it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO
from zipfile import BadZipFile

import numpy as np
import torch
from mlratchet.models.sources.base import Example, Format, SourceOptions
from mlratchet.models.sources.record import RawObject, Reject
from torch.utils.data import Dataset

KINDS = ("rising", "falling")


class Curves(Dataset[tuple[torch.Tensor, int]]):
    """Curves of 16 points and their kinds, out of a file of NumPy."""

    def __init__(self, file: BinaryIO) -> None:
        arrays = np.load(file, allow_pickle=False)
        self.points, self.kinds = arrays["points"], arrays["kinds"]

    def __len__(self) -> int:
        return len(self.kinds)

    def __getitem__(self, at: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(self.points[at]), int(self.kinds[at])


class CurvesFormat(Format):
    """Each item of the dataset is an example; what cannot be one is set aside and ends nothing."""

    name = "curves"
    Options = SourceOptions

    def read(self, objects: list[RawObject], fetch: Any, *, columns: Sequence[str]) -> Iterator[Example | Reject]:
        for item in objects:
            try:
                dataset = Curves(io.BytesIO(fetch(item)))
            except (ValueError, KeyError, OSError, BadZipFile) as error:
                yield Reject(where=item.key, code="not_curves", reason=f"{item.key}: {error}; expected an .npz file")
                continue
            for at in range(len(dataset)):
                points, kind = dataset[at]
                values = {
                    "points": json.dumps(points.tolist()),
                    "kind": KINDS[kind] if kind < len(KINDS) else str(kind),
                }
                yield Example(where=f"{item.key}:{at}", values=values, id=f"{item.key}:{at}")
