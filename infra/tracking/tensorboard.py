"""TensorBoard files from the events of the ranks, while they train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter


class TensorBoardLog:
    """Scalars per step and epoch, histograms of the weights, sample predictions."""

    def __init__(self, directory: Path) -> None:
        self._board = SummaryWriter(str(directory))

    def __call__(self, event: dict[str, Any]) -> None:
        """One event; unknown ones are ignored."""
        match event["event"]:
            case "epoch":
                self._scalars("epoch", event, int(event["epoch"]))
            case "step":
                self._scalars("step", event, int(event["step"]))
            case "histograms":
                for name, found in event["tensors"].items():
                    self._histogram(name, found, int(event["step"]))
            case "predictions":
                rows = ["| row | target | predicted |", "|---|---|---|"]
                rows += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in event["rows"]]
                self._board.add_text("predictions", "\n".join(rows), int(event["epoch"]))

    def _scalars(self, group: str, event: dict[str, Any], at: int) -> None:
        for name, value in event.items():
            if name not in ("event", "epoch", "step", "of", "at_s") and isinstance(value, int | float):
                self._board.add_scalar(f"{group}/{name}", value, at)

    def _histogram(self, name: str, found: dict[str, Any], at: int) -> None:
        counts, low, high = found["counts"], found["min"], found["max"]
        width = (high - low) / len(counts) or 1e-12
        self._board.add_histogram_raw(
            f"weights/{name}",
            min=low,
            max=high,
            num=sum(counts),
            sum=found["sum"],
            sum_squares=found["sum_squares"],
            bucket_limits=[low + width * (i + 1) for i in range(len(counts))],
            bucket_counts=counts,
            global_step=at,
        )

    def close(self) -> None:
        """Flush."""
        self._board.close()
