"""What TensorBoard shows of a training."""

from __future__ import annotations

from pathlib import Path

from mlratchet.infra.tracking.tensorboard import TensorBoardLog
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def test_scalars_histograms_and_predictions_are_there(tmp_path: Path) -> None:
    board = TensorBoardLog(tmp_path)
    board({"event": "epoch", "epoch": 1, "train_loss": 0.5, "at_s": 1.0})
    board({"event": "step", "step": 10, "of": 20, "loss": 0.25, "learning_rate": 0.1, "gradient_norm": 2.0})
    tensors = {"w": {"min": -1.0, "max": 1.0, "sum": 0.0, "sum_squares": 2.0, "counts": [1, 0, 1]}}
    board({"event": "histograms", "step": 1, "tensors": tensors})
    board({"event": "predictions", "epoch": 1, "rows": [["a.png", "3", "8"]]})
    board({"event": "note", "step": 0, "text": "began fresh"})
    board.close()
    seen = EventAccumulator(str(tmp_path), size_guidance={"histograms": 0, "tensors": 0})
    seen.Reload()
    tags = seen.Tags()
    assert set(tags["scalars"]) == {"epoch/train_loss", "step/loss", "step/learning_rate", "step/gradient_norm"}
    assert [(s.step, s.value) for s in seen.Scalars("step/loss")] == [(10, 0.25)]
    assert tags["histograms"] == ["weights/w"]
    assert any("predictions" in tag for tag in tags["tensors"])
