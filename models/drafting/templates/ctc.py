"""A small recogniser for pipeline NAME, yours to change: which letters are heard, and in which order.

Nobody has to say where in the sound a letter is: every frame says a letter or nothing, and all ways to say the text
count together (CTC; Graves et al., ICML 2006). Shape legend: B rows, T frames of a batch, S frames of the longest
sound, L letters, M letters of a row at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mlratchet.models.metrics.edits import CharacterErrorRate, edits
from mlratchet.models.networks.build import NetworkInput
from mlratchet.models.networks.padded import MaskedConv, known_steps
from mlratchet.models.objectives.base import Objective
from mlratchet.models.workloads.fields import SchemaWorkload
from torch import nn
from torch.nn import functional

LETTERS = "abcdef"
FRAMES, MOST = 128, 10  # S: max_seconds / hop_ms of the pipeline file, rounded up; M
SILENT = 20.0  # logit of "nothing" in the frames behind the end of a sound


class FrameNetwork(nn.Module):
    """(B, T, bands) of any T to (B, S, 1 + L): nothing, or a letter."""

    def __init__(self, bands: int, width: int = 48) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            MaskedConv(before, width, kernel=5, dilation=dilation)
            for before, dilation in ((bands, 1), (width, 2), (width, 1))
        )
        self.said = nn.Linear(width, 1 + len(LETTERS))

    def forward(self, sound: torch.Tensor, sound_lengths: torch.Tensor) -> torch.Tensor:
        known = known_steps(sound_lengths, sound.shape[1])
        for layer in self.layers:
            sound = layer(sound, known)
        nothing = functional.one_hot(torch.tensor(0), 1 + len(LETTERS)) * SILENT
        said = torch.where(known.unsqueeze(-1), self.said(sound), nothing)
        behind = nothing.expand(said.shape[0], FRAMES, -1)
        return torch.cat([said, behind], dim=1)[:, :FRAMES]


def heard(output: np.ndarray[Any, Any]) -> list[str]:
    """The likeliest of each frame of outputs (B, S, 1 + L), each run of a letter once, nothing left out."""
    best = output.argmax(axis=-1)
    new = np.diff(best, axis=1, prepend=0) != 0
    return ["".join(LETTERS[one - 1] for one in row[kept & (row > 0)]) for row, kept in zip(best, new, strict=True)]


def texts(y: np.ndarray[Any, Any]) -> list[str]:
    """Of targets (B, M)."""
    return ["".join(LETTERS[int(one)] for one in row if one >= 0) for row in y]


class LetterErrors(CharacterErrorRate):
    """The metric: which letters a row's numbers are."""

    def said(self, output: np.ndarray[Any, Any]) -> list[str]:
        return heard(output)

    def wanted(self, y: np.ndarray[Any, Any]) -> list[str]:
        return texts(y)


class Letters(Objective):
    """What is learnt: (M,) numbers a row, of letters in their order; -1 fills up."""

    name = "letters"
    badness_unit = "letters wrong"

    def loss(self, output: torch.Tensor, target: torch.Tensor, *, label_smoothing: float) -> torch.Tensor:  # noqa: ARG002
        frames, lengths = output.log_softmax(dim=-1).transpose(0, 1), (target >= 0).sum(dim=1)
        heard_in = torch.full_like(lengths, frames.shape[0])
        wanted = target.clamp(min=0).long() + 1
        lost = functional.ctc_loss(frames, wanted, heard_in, lengths, reduction="none", zero_infinity=True)
        return lost.sum() / len(output)

    def metrics(self, class_names: tuple[str, ...]) -> Sequence[LetterErrors]:  # noqa: ARG002
        return [LetterErrors()]

    def output_shapes(self, class_names: tuple[str, ...]) -> frozenset[tuple[int, ...]]:  # noqa: ARG002
        return frozenset({(FRAMES, 1 + len(LETTERS))})

    def answers(self, output: torch.Tensor, class_names: tuple[str, ...]) -> list[dict[str, Any]]:  # noqa: ARG002
        sure = output.softmax(dim=-1).amax(dim=-1).log().sum(dim=1).exp()
        return [{"text": text, "probability": float(p)} for text, p in zip(heard(output.numpy()), sure, strict=True)]

    def answer_schema(self, class_names: tuple[str, ...]) -> dict[str, Any]:  # noqa: ARG002
        return {"text": {"type": "string"}, "probability": {"type": "number"}}

    def refusal(self, target: Any, class_names: tuple[str, ...]) -> str:  # noqa: ARG002
        return "" if np.shape(target) == (MOST,) else f"got {target!r}, expected {MOST} numbers"

    def made_up_target(self, at: int, class_names: tuple[str, ...]) -> Any:  # noqa: ARG002
        return (float(at % len(LETTERS)), *[-1.0] * (MOST - 1))

    def explained(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        return output.log_softmax(dim=-1)[..., 1:].amax(dim=-1).sum(dim=1)

    def wanted(self, y: np.ndarray[Any, Any], class_names: tuple[str, ...]) -> list[str]:  # noqa: ARG002
        return texts(y)

    def said(self, rows: Any, class_names: tuple[str, ...]) -> list[str]:  # noqa: ARG002
        return heard(rows.output)

    def badness(self, rows: Any) -> np.ndarray[Any, Any]:
        pairs = zip(heard(rows.output), texts(rows.y), strict=True)
        return np.asarray([edits(said, wanted) for said, wanted in pairs], dtype=np.float64)

    def differ(self, a: Any, b: Any) -> np.ndarray[Any, Any]:
        return np.asarray([one != other for one, other in zip(heard(a.output), heard(b.output), strict=True)])

    def pictures(self, rows: Any, class_names: tuple[str, ...]) -> dict[str, bytes]:  # noqa: ARG002
        return {}

    def comparison_pictures(self, a: Any, b: Any) -> dict[str, bytes]:  # noqa: ARG002
        return {}


class Recogniser(SchemaWorkload):
    """Reads, prepares and answers as the pipeline file says; network and objective are its own."""

    task = Letters

    def target(self, label: Any) -> Any:
        """Of a text. A ``ValueError`` sets the row aside."""
        unknown = next((one for one in str(label) if one not in LETTERS), "")
        if unknown or not 0 < len(str(label)) <= MOST:
            raise ValueError(f"got {label!r}, expected 1 to {MOST} letters of {LETTERS}")
        return (*map(float, map(LETTERS.index, str(label))), *[-1.0] * (MOST - len(str(label))))

    def build_network(self, inputs: Sequence[NetworkInput], outputs: int) -> nn.Module:  # noqa: ARG002
        return FrameNetwork(inputs[0].shape[0])
