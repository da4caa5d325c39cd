"""An ordinary export with words, gaps, dates and decimal commas becomes a served champion, twice, without code."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any

import httpx
import pytest
from mlratchet.infra.serving.local import LocalServers

pytestmark = [pytest.mark.stack, pytest.mark.slow]
FILE = """
name: shop
source: {prefix: shop/, format: csv}
schema:
  label: Retoure
  id: Bestellnr
  fields:
    Bestelldatum: {kind: time, format: "%d.%m.%Y %H:%M"}
    Land: {kind: category, nullable: true}
    Kategorie: {kind: category, missing: ["N/A"], nullable: true}
    "Preis (€)": {kind: number, decimal: ","}
    Alter: {kind: number, nullable: true}
    Notiz: {kind: text, nullable: true}
    Retoure: {kind: category, values: ["nein", "ja"]}
workload:
  parameters: {hidden: [16], width: 8}
train:
  epochs: 8
  global_batch_size: 128
  mode: fast
  optimizer: {name: adamw, learning_rate: 0.01}
gates:
  data:
    - {kind: data, measure: rows, minimum: 500}
  candidate:
    - {kind: absolute, metric: accuracy, minimum: 0.6}
  staging:
    - {kind: contract}
    - {kind: parity, maximum_difference: 0.0001}
  champion:
    - {kind: absolute, metric: accuracy, minimum: 0.6}
    - {kind: non_inferiority, metric: accuracy, margin: 0.1}
"""
COLUMNS = ["Bestellnr", "Bestelldatum", "Land", "Kategorie", "Preis (€)", "Alter", "Notiz", "Retoure"]


def deliver(stack: Any, name: str, count: int, *, seed: int, categories: tuple[str, ...]) -> None:
    """Who orders clothes sends them back. One price is a word, one label is none of the two."""
    draw = random.Random(seed)
    with (stack.project / name).open("w", newline="", encoding="utf-8-sig") as sink:
        rows = csv.writer(sink, lineterminator="\r\n")
        rows.writerow(COLUMNS)
        for at in range(count):
            kind = draw.choice(categories)
            back = draw.random() < (0.9 if kind == "Kleidung" else 0.1)
            price = f"{draw.uniform(5, 90):.2f}".replace(".", ",") if at != 3 else "zwölf"
            label = ("ja" if back else "nein") if at != 7 else "vielleicht"
            day = f"{draw.randint(1, 28):02d}.{draw.randint(1, 12):02d}.2026 {draw.randint(0, 23):02d}:05"
            age = draw.choice(["", draw.randint(18, 80)])
            note = draw.choice(["", "bitte klingeln", 'Hinterhof,\n2. Stock "links"'])
            rows.writerow([f"B-{seed}-{at}", day, draw.choice(["DE", "AT", ""]), kind, price, age, note, label])
    stack("upload", "shop", name)


@pytest.fixture(scope="module")
def promoted(stack: Any) -> list[dict[str, Any]]:
    """Version 1, and version 2 after a delivery with a category that version 1 never saw."""
    (stack.pipelines / "shop.yaml").write_text(FILE)
    deliver(stack, "first.csv", 900, seed=1, categories=("Kleidung", "Bücher", "N/A"))
    assert "is valid" in stack("validate", str(stack.pipelines / "shop.yaml")).stdout
    first = stack.json("run", "shop")
    deliver(stack, "second.csv", 400, seed=2, categories=("Kleidung", "Bücher", "Fahrräder"))
    return [first, stack.json("run", "shop")]


def test_it_is_promoted_and_meets_its_champion_each_through_its_own_preparation(
    stack: Any, promoted: list[dict[str, Any]]
) -> None:
    assert [(one["outcome"], one["version"]) for one in promoted] == [("promoted", 1), ("promoted", 2)]
    assert promoted[1]["metrics"]["accuracy"] > 0.8
    decisions = {one["decision"]["gate"]: one["decision"] for one in stack.json("decision", "shop", "2")}
    checks = {(gate, c["kind"]): c for gate, found in decisions.items() for c in found["checks"]}
    assert checks["champion", "non_inferiority"]["verdict"] == "pass"
    assert checks["staging", "parity"]["verdict"] == "pass"
    (aside,) = [c for c in decisions["data"]["checks"] if c["metric"] == "rejected_fraction"]
    assert aside["value"] == pytest.approx(4 / 1300)
    assert stack.json("audit", "shop", "--replay")["passed"]


def test_every_row_that_was_set_aside_is_listed_with_file_row_and_rule(
    stack: Any, promoted: list[dict[str, Any]]
) -> None:
    assert promoted[1]["version"] == 2
    found = {(one["key"], one["rule"]) for one in stack.json("rejects", "shop")["rejects"]}
    assert found == {(file, rule) for file in ("first.csv", "second.csv") for rule in ("not_a_number", "unknown_label")}


def test_the_server_takes_what_a_person_has(stack: Any, promoted: list[dict[str, Any]], tmp_path: Path) -> None:
    assert promoted[1]["version"] == 2
    url = LocalServers(Path(stack.home)).url("shop")
    assert url is not None
    row = {
        "Bestelldatum": "2026-05-07T10:05:00Z",
        "Kategorie": "Kleidung",
        "Preis (€)": 16.26,
        "Notiz": "bitte klingeln",
    }
    never = {"Bestelldatum": "2026-05-07T10:05:00Z", "Kategorie": "Raumschiffe", "Preis (€)": 1}
    reply = httpx.post(f"{url}/predict", json={"instances": [row, never]}, timeout=120)
    assert reply.status_code == 200, reply.text
    assert [one["class"] for one in reply.json()["predictions"]] == ["ja", "nein"]
    wrong = httpx.post(f"{url}/predict", json={"instances": [{**row, "Alter": "jung"}]}, timeout=120)
    assert (wrong.status_code, wrong.json()["field"]) == (422, "instances[0].Alter")
    described = httpx.get(f"{url}/openapi.json", timeout=120).json()
    instance = described["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(instance["anyOf"][0]["properties"]["instances"]["items"]["properties"]) == set(COLUMNS) - {
        "Bestellnr",
        "Retoure",
    }


def test_the_model_in_mlflow_answers_as_the_server(stack: Any, promoted: list[dict[str, Any]], tmp_path: Path) -> None:
    assert promoted[1]["version"] == 2
    import pandas as pd
    from mlratchet.infra.artifact.fetch import fetch_artifact
    from mlratchet.infra.artifact.pyfunc import _load_pyfunc
    from mlratchet.tasks.support.versions import registration_of

    fetch_artifact(stack.adapters.bucket, registration_of(stack.adapters, "shop", 2), tmp_path / "model")
    frame = pd.DataFrame(
        {
            "Preis (€)": [16.26, 20.0], "Kategorie": ["Kleidung", "Bücher"], "Alter": [None, 33.0],
            "Bestelldatum": ["2026-05-07T10:05:00Z"] * 2, "Land": [None, "DE"], "Notiz": [None, None],
        }
    )  # fmt: skip
    answers = _load_pyfunc(str(tmp_path / "model")).predict(frame)
    url = LocalServers(Path(stack.home)).url("shop")
    sent = [
        {name: value for name, value in row.items() if value == value and value is not None}
        for row in frame.astype(object).where(frame.notna(), None).to_dict("records")
    ]
    served = httpx.post(f"{url}/predict", json={"instances": sent}, timeout=120).json()["predictions"]
    for mine, theirs in zip(answers, served, strict=True):
        assert mine["class"] == theirs["class"]
        assert mine["probability"] == pytest.approx(theirs["probability"], abs=1e-5)


def test_the_very_same_run_again_trains_nothing(stack: Any, promoted: list[dict[str, Any]]) -> None:
    assert promoted[1]["version"] == 2
    assert stack.json("run", "shop")["outcome"] == "unchanged"
