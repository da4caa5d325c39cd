"""Looking back on the road's two versions: compare and backtest, as a user calls them."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def test_two_versions_are_compared_and_the_page_is_in_mlflow(stack: Any, second: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    found = stack.json("compare", "digits", "1", "2", "--html", str(page))
    accuracy = next(m for m in found["metrics"] if m["metric"] == "accuracy")
    assert accuracy["difference"] == accuracy["b"] - accuracy["a"]
    assert accuracy["b"] == second.report["metrics"]["accuracy"]  # the same rows give the same number again
    assert found["n"] == accuracy["n"]
    assert {s["column"] for s in found["slices"]} == {"label"}
    assert found["latency"]["a_ms"]["p50"] > 0
    assert found["page"] is not None
    run = stack.adapters.registry.get_version("digits", 2).run_id
    bucket = stack.adapters.bucket(stack.settings.mlflow_bucket)
    logged = {info.key for info in bucket.list() if "/compare/" in info.key}
    (key,) = [one for one in logged if run in one and one.endswith("/version-1-and-2.html")]
    assert bucket.get(key).decode() == page.read_text()
    assert "against itself" in stack("compare", "digits", "2", "2", code=2).stderr


def test_a_policy_is_tried_on_the_past(stack: Any, second: Any, tmp_path: Path) -> None:
    as_it_was = stack.pipelines / "digits.yaml"
    picture = tmp_path / "p.png"
    same = stack.json("backtest", "digits", "--policy", str(as_it_was), "--plot", str(picture))
    assert [step["promoted"] for step in same["steps"][:2]] == [True, True]
    assert picture.read_bytes().startswith(b"\x89PNG")
    strict = tmp_path / "strict.yaml"
    strict.write_text("name: strict\nchampion:\n  - {kind: absolute, metric: accuracy, minimum: 0.9999}\n")
    none = stack.json("backtest", "digits", "--policy", str(strict), "--plot", str(picture))
    assert [step["promoted"] for step in none["steps"][:2]] == [False, False]
    assert none["served"] == []
    assert [span["version"] for span in none["did_serve"][:2]] == [1, 2]
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("name: wrong\nchampion:\n  - {kind: absolute, metric: accuracy, maximum: 0.9}\n")
    assert "direction" in stack("backtest", "digits", "--policy", str(wrong), code=2).stderr
