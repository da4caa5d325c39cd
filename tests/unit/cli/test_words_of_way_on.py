"""Commands that have nothing to show, or were asked for what there is not, say what makes it."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlratchet.flows.cli import app as command_line
from mlratchet.flows.cli.monitor import no_window
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.monitoring.config import WindowRule
from typer.testing import CliRunner


@pytest.mark.parametrize(
    ("rule", "size"),
    [
        (WindowRule(), "60 minutes of requests"),
        (WindowRule(rows=5000), "5,000 requests"),
        (WindowRule(seconds=90), "1.5 minutes of requests"),
        (WindowRule(seconds=10), "10 seconds of requests"),
        (WindowRule(seconds=100), "100 seconds of requests"),
        (WindowRule(seconds=86_400), "24 hours of requests"),
    ],
)
def test_no_window_yet_says_how_long_one_is_and_how_to_get_requests(rule: WindowRule, size: str) -> None:
    said = no_window("shop", rule)
    assert f"one is {size}" in said
    assert "`ratchet simulate shop`" in said


def test_prediction_of_a_misspelt_pipeline_names_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "pipelines"
    folder.mkdir()
    (folder / "orders.yaml").write_text("name: orders\n")
    home = tmp_path / "home"
    home.mkdir()
    (home / "stack.env").write_text("")
    for name, value in {"HOME": home, "PIPELINES_DIR": folder}.items():
        monkeypatch.setenv(f"RATCHET_{name}", str(value))
    for name in ("S3_ENDPOINT_URL", "S3_ACCESS_KEY", "S3_SECRET_KEY", "MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
        monkeypatch.setenv(f"RATCHET_{name}", "http://127.0.0.1:9")
    result = CliRunner().invoke(command_line.app, ["predict", "orderz", "row.json"])
    assert isinstance(result.exception, ConfigurationError), result.output
    assert "did you mean 'orders'?" in str(result.exception)
