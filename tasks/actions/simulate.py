"""Simulate: traffic with a known truth for a served pipeline, from its own test rows, and labels that come later."""

from __future__ import annotations

import csv
import io
import math
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
from mlratchet.infra.serving.sending import Heard, send
from mlratchet.infra.serving.token_file import TokenFile
from mlratchet.models.data.dataset import load_dataset
from mlratchet.models.data.prepared_shards import instances_of_side
from mlratchet.models.data.shards import load_split
from mlratchet.models.errors import ConfigurationError, InfrastructureError
from mlratchet.models.inference_log.config import LabelsConfig
from mlratchet.models.monitoring.traffic import DriftKind, OwnRows, Sent, traffic
from mlratchet.models.pipeline.store import load_pipeline
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.serving.contract import instances_of
from mlratchet.tasks.support.open_version import signature_of_version
from mlratchet.tasks.support.pipelines import require_pipeline
from mlratchet.tasks.support.versions import promoted_record
from mlratchet.tasks.wiring import Adapters, deployed_revision

MOST_ROWS = 5_000  # of the test side: memory does not grow with the dataset
TICK_S = 0.5  # seconds between two deliveries of labels


@dataclass(frozen=True, kw_only=True)
class TrafficPlan:
    """What is sent."""

    drift: DriftKind
    rate: float = 50.0  # requests per second
    seconds: float = 60.0
    onset_s: float = 0.0  # before the drift
    size: float = 1.0
    field: str | None = None
    labels_after_s: float = 10.0
    share: float = 0.1  # of the answers that get a label
    clients: int = 997  # whose requests they are, in turn
    seed: int = 0

    def client_of(self, one: Sent) -> str:
        """Who sends a request: of a canary's share each client is in or out, so that there have to be many of them."""
        return f"client-{round(one.at_s * self.rate) % self.clients}"


@dataclass(kw_only=True)
class Simulated:
    """What became of it."""

    sent: dict[str, int] = field(default_factory=dict)  # by status
    labelled: int = 0
    drifted: int = 0  # requests after the onset that were answered
    began_s: float = 0.0  # seconds since the epoch
    drift_s: float | None = None  # when the drift began; None without one
    latest_s: float = 0.0  # by how much the last request was late


def simulate(
    adapters: Adapters,
    pipeline: str,
    plan: TrafficPlan,
    *,
    rows: OwnRows | None = None,
    on_progress: Callable[[int, int], None] = lambda _sent, _all: None,
) -> Simulated:
    """Send the traffic and, as they come due, the labels; returns when the last label is delivered.

    Args:
        adapters: Where.
        pipeline: One that is served.
        plan: What is sent.
        rows: What requests are drawn from; the champion's test rows without it.
        on_progress: Is told how many requests were begun, and of how many.

    Raises ``ConfigurationError`` where nothing is served, or its rows cannot drift so.
    """
    url = adapters.servers.url(pipeline)
    if url is None:
        require_pipeline(adapters, pipeline)
        raise ConfigurationError(f"no server for {pipeline!r}; `ratchet run {pipeline}` promotes and deploys one")
    labels = load_pipeline(adapters.store, deployed_revision(adapters, pipeline)).serving.labels
    rows = rows or own_rows(adapters, pipeline)
    rng, due, lock = np.random.default_rng([plan.seed, 1]), list[Heard](), threading.Lock()

    def heard(one: Heard) -> None:
        with lock:
            if one.status == 200 and rng.random() < plan.share:  # who labels does so by chance
                due.append(one)

    found = Simulated(began_s=time.time())
    if plan.drift != "none":
        found.drift_s = found.began_s + plan.onset_s
    bring = bringer(adapters, pipeline, url, labels)
    over, given_up = threading.Event(), threading.Event()
    labeller = threading.Thread(
        target=keep_labelling, args=(due, lock, over, given_up, bring, plan.labels_after_s, found)
    )
    labeller.start()
    try:
        requests = traffic(
            rows,
            plan.drift,
            rate=plan.rate,
            seconds=plan.seconds,
            onset_s=plan.onset_s,
            size=plan.size,
            seed=plan.seed,
            field=plan.field,
        )
        tally = send(url, counted(requests, found, on_progress, plan), heard=heard, client_key=plan.client_of)
        over.set()
        labeller.join()
    except ValueError as error:
        raise ConfigurationError(f"--drift {plan.drift}: {error}") from error
    finally:  # after Ctrl-C nobody waits for labels that come in an hour
        given_up.set()
        over.set()
        labeller.join()
    found.sent, found.latest_s = dict(tally.statuses), tally.latest_s
    return found


def counted(requests: Any, found: Simulated, on_progress: Callable[[int, int], None], plan: TrafficPlan) -> Any:
    """The same, counted."""
    every = math.ceil(plan.rate * plan.seconds)
    for number, one in enumerate(requests, start=1):
        found.drifted += one.drifted
        on_progress(number, every)
        yield one


def own_rows(adapters: Adapters, pipeline: str) -> OwnRows:
    """The champion's test rows as clients send them, and what is true of each. Raises ``ConfigurationError``."""
    entries = adapters.ledger.entries(pipeline)
    if not entries:
        raise ConfigurationError(f"{pipeline} has no champion; `ratchet run {pipeline}` trains one")
    record = promoted_record(adapters, entries[-1])
    store = adapters.store
    dataset = load_dataset(store, record.dataset_id)
    split = load_split(store, dataset, "test")
    count = min(len(split.ids), MOST_ROWS)
    instances = instances_of_side(store, dataset, "test", count) or instances_of(split.x.rows(slice(count)))
    classes = signature_of_version(adapters, record, entries).classes
    y = np.asarray(split.y[: len(instances)])
    if y.ndim != 1:
        raise ConfigurationError(f"{pipeline}: rows of several labels cannot be simulated; one truth per row can")
    truths = [classes[int(one)] if classes else repr(float(one)) for one in y]
    return OwnRows(instances=instances, truths=truths)


Bring = Callable[[Sequence[Heard]], None]


def bringer(adapters: Adapters, pipeline: str, url: str, labels: LabelsConfig | None) -> Bring:
    """How labels reach the pipeline: as objects where it declares a prefix, else through `/feedback`."""
    if labels is not None and labels.prefix is not None:
        bucket = adapters.bucket(labels.bucket) if labels.bucket else adapters.raw
        return lambda ready: put_labels(bucket, labels, ready)
    token = TokenFile(adapters.settings.home).own()
    return lambda ready: post_labels(url, pipeline, ready, token)


def put_labels(bucket: ObjectStore, labels: LabelsConfig, ready: Sequence[Heard]) -> None:
    """One CSV object below the declared prefix. Raises ``ConfigurationError`` for another format."""
    if labels.format != "csv":
        raise ConfigurationError(f"serving.labels.format is {labels.format}; simulated labels are csv")
    sink = io.StringIO()
    writer = csv.writer(sink)
    writer.writerow([labels.request, labels.row, labels.label])
    writer.writerows([one.request_id, 0, one.truth] for one in ready)
    bucket.put(f"{labels.prefix}simulated-{uuid.uuid4().hex}.csv", sink.getvalue().encode())


def post_labels(url: str, pipeline: str, ready: Sequence[Heard], token: str) -> None:
    """One request per label. Raises ``InfrastructureError`` when the server takes none."""
    with httpx.Client(base_url=url, timeout=10, headers={"authorization": f"Bearer {token}"}) as client:
        for one in ready:
            try:
                reply = client.post("/feedback", json={"request_id": one.request_id, "row": 0, "label": one.truth})
            except httpx.HTTPError as error:
                raise InfrastructureError(f"{url}/feedback: {error}; `ratchet logs serve-{pipeline}`") from error
            if reply.status_code >= 300:
                raise InfrastructureError(
                    f"{url}/feedback answered {reply.status_code}: {reply.text[:200]}; declare serving.labels.prefix, "
                    "and labels are brought as objects"
                )


def keep_labelling(
    due: list[Heard],
    lock: threading.Lock,
    over: threading.Event,
    given_up: threading.Event,
    bring: Bring,
    after_s: float,
    found: Simulated,
) -> None:
    """Deliver labels as they come due, until the traffic is over and none is left, or it was given up. What cannot be
    brought is told, and ends no traffic."""
    while not given_up.is_set():
        ended = over.is_set()
        with lock:
            now = time.time()
            ready = [one for one in due if now - one.answered_s >= after_s]
            due[:] = [one for one in due if now - one.answered_s < after_s]
            left = len(due)
        if ready:
            try:
                bring(ready)
                found.labelled += len(ready)
            except (InfrastructureError, ConfigurationError) as error:
                found.sent[f"labels not taken: {error}"] = len(ready)
        if ended and not left:
            return
        (given_up if ended else over).wait(TICK_S)
