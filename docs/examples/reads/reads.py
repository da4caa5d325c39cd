"""Two inputs, one of any length: who reads, and the numbers of the words of what is read. Does the reader like it?"""

import json

import numpy as np
import torch
from mlratchet.models.workloads.base import Record, Reject, TensorSpec, Workload
from torch import nn

READERS, WORDS = 50, 200


class LikesText(nn.Module):
    """A reader's vector beside the mean vector of the words."""

    def __init__(self):
        super().__init__()
        self.readers, self.words, self.head = nn.Embedding(READERS, 8), nn.Embedding(WORDS, 8), nn.Linear(16, 2)

    def forward(self, reader, words, words_lengths):
        inside = torch.arange(words.shape[1], device=words.device) < words_lengths[:, None]  # the rest is padding
        read = (self.words(words) * inside[..., None]).sum(dim=1) / words_lengths.clamp(min=1)[:, None]
        return self.head(torch.cat([self.readers(reader), read], dim=1))


class Likes(Workload):
    """JSON lines: ``{"id": "r1", "reader": 3, "words": [17, 4, 99], "liked": true}``."""

    task = "classification"

    def tensors(self):
        return (
            TensorSpec(name="reader", shape=(), dtype="int64", value_range=(0, READERS - 1)),
            TensorSpec(name="words", shape=(), dtype="int64", ragged=True, value_range=(0, WORDS - 1)),
        )

    def class_names(self):
        return ("no", "yes")

    def records(self, objects, fetch, source):
        for one in objects:
            for number, line in enumerate(fetch(one).decode().splitlines(), 1):
                where = f"{one.key}:{number}"
                try:
                    row = json.loads(line)
                    x = {"reader": np.asarray(row["reader"]), "words": np.asarray(row["words"], dtype=np.int64)}
                    yield Record(id=row["id"], x=x, y=int(row["liked"]), content_sha256=row["id"], where=where)
                except (ValueError, KeyError, TypeError) as error:
                    yield Reject(where=where, code="bad_line", reason=f"{where}: {error}")

    def build_model(self):
        return LikesText()
