"""What a person wants to see of Prefect or MLflow, as it is said to `ratchet open`; imports nothing that takes time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

from mlratchet.models.errors import ConfigurationError

LAST = "last"
DATA_PAGE = "data.html"  # artifact of a training, in MLflow
TRACKING_RUN = re.compile(r"[0-9a-f]{32}")  # MLflow's ids have no dashes, Prefect's have


@dataclass(frozen=True, kw_only=True)
class Destination:
    """What a person wants to see; nothing of it: the first page."""

    pipeline: str | None = None
    version: int | None = None  # of `pipeline`, as `ratchet versions` lists it
    run: str | None = None  # Prefect's id or MLflow's, or `last`, of `pipeline`


def destination_of(what: str | None, run: str | None) -> Destination:
    """NAME or NAME/VERSION, and --run. Raises ``ConfigurationError`` for what is neither."""
    name, _, number = (what or "").partition("/")
    if number and (run is not None or not number.isdecimal() or int(number) < 1):
        raise ConfigurationError(f"expected NAME or NAME/VERSION or --run, got {what}{f' --run {run}' if run else ''}")
    if run == LAST and not name:
        raise ConfigurationError("expected a pipeline beside --run last: `ratchet open PAGE NAME --run last`")
    if run not in (None, LAST):
        run = run_id(str(run))
    return Destination(pipeline=name or None, version=int(number) if number else None, run=run)


def run_id(text: str) -> str:
    """As Prefect or MLflow writes it. Raises ``ConfigurationError`` for what is no id of either."""
    try:
        return text if TRACKING_RUN.fullmatch(text) else str(UUID(text))
    except ValueError:
        raise ConfigurationError(
            f"expected the id of a run, or `last`, got {text!r}; `ratchet run` prints it"
        ) from None


def place_of(url: str) -> str:
    """The path of a page with its query and fragment, without the service."""
    parts = urlsplit(url)
    return urlunsplit(("", "", parts.path or "/", parts.query, parts.fragment))


def flow_run_place(run: str) -> str:
    """The path of a run in Prefect. Raises ``ConfigurationError`` for a run of MLflow."""
    if TRACKING_RUN.fullmatch(run):
        raise ConfigurationError(f"{run} is a run of MLflow: `ratchet open mlflow --run {run}`")
    return f"/runs/flow-run/{run}"
