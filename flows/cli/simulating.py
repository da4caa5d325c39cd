"""The command that sends traffic with a known truth: simulate."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
DURATION = re.compile(r"^(\d+(?:\.\d+)?)(ms|s|m|h)?$")
UNITS_S = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}
MOST_PER_S = 100_000  # requests
RATE = re.compile(r"^(\d+(?:\.\d+)?)(?:/(s|m|h))?$")


def duration_s(text: str, option: str) -> float:
    """Seconds of ``10s``, ``2m``, ``1h``. Raises ``ConfigurationError``."""
    from mlratchet.models.errors import ConfigurationError

    found = DURATION.match(text.strip())
    if found is None:
        raise ConfigurationError(f"{option} {text!r}: expected a duration, such as 10s, 2m or 1h")
    return float(found[1]) * UNITS_S[found[2]]


def rate_per_s(text: str) -> float:
    """Requests per second of ``50/s``, ``600/m``. Raises ``ConfigurationError``."""
    from mlratchet.models.errors import ConfigurationError

    found = RATE.match(text.strip())
    if found is None or float(found[1]) <= 0:
        raise ConfigurationError(f"--rate {text!r}: expected a rate, such as 50/s or 600/m")
    return float(found[1]) / UNITS_S[found[2]]


def simulate(
    pipeline: Annotated[str, typer.Argument(help="A pipeline that is served.")],
    drift: Annotated[str, typer.Option(help="covariate, label, concept, quality, outage or none.")] = "none",
    rate: Annotated[str, typer.Option(help="Requests, e.g. 50/s.")] = "50/s",
    lasting: Annotated[str, typer.Option("--for", help="How long, e.g. 60s.")] = "60s",
    onset: Annotated[str, typer.Option(help="After so long the drift begins.")] = "0s",
    size: Annotated[float, typer.Option(min=0.0, help="Of the drift; 1 is large.")] = 1.0,
    field: Annotated[str | None, typer.Option(help="What drifts or is spoiled; the first number without it.")] = None,
    labels_after: Annotated[str, typer.Option(help="A label comes so long after its request.")] = "10s",
    share: Annotated[float, typer.Option(min=0.0, max=1.0, help="Of the answers that get a label.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Send traffic whose truth is known, from the champion's test rows, and labels later: to try monitoring and its
    consequences before the world does.
    """
    from dataclasses import asdict

    from mlratchet.flows.cli.output import emit, progress_bar
    from mlratchet.models.errors import ConfigurationError
    from mlratchet.models.monitoring.traffic import DRIFTS
    from mlratchet.models.nearest import nearest_hint

    if (asked := rate_per_s(rate)) > MOST_PER_S:
        raise ConfigurationError(f"--rate {rate!r}: expected at most {MOST_PER_S:,}/s, which one machine cannot send")
    if drift not in DRIFTS:
        raise ConfigurationError(f"--drift {drift!r}: {nearest_hint(drift, DRIFTS)}")
    told: dict[str, Any] = {
        "drift": drift,
        "rate": asked,
        "seconds": duration_s(lasting, "--for"),
        "onset_s": duration_s(onset, "--onset"),
        "size": size,
        "field": field,
        "labels_after_s": duration_s(labels_after, "--labels-after"),
        "share": share,
        "seed": seed,
    }
    with progress_bar(f"requests to {pipeline}", hidden=as_json) as advance:
        from mlratchet.tasks.actions.simulate import TrafficPlan
        from mlratchet.tasks.actions.simulate import simulate as send
        from mlratchet.tasks.wiring import open_adapters

        found: dict[str, Any] = asdict(send(open_adapters(), pipeline, TrafficPlan(**told), on_progress=advance))
    statuses = ", ".join(f"{count:,} x {status}" for status, count in sorted(found["sent"].items()))
    drifted = f"{found['drifted']:,} drifted ({drift}), {found['labelled']:,} labelled"
    emit(found, [f"{pipeline}: sent {statuses or 'nothing'}; {drifted}"], as_json=as_json)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(simulate)
