"""The process that serves champions over HTTP: of every pipeline of a home, or of one that wants its own.

It reads ledgers, decisions and registrations from S3, verifies every signature and byte, loads, warms up and swaps. It
needs the public list of keys and an S3 identity that may read, and neither MLflow's server nor Prefect, a password or a
private key. A user's own objective and preparation answer in children, which have not even what may read.
Run as ``python -m mlratchet.infra.serving.server --service serve --port P``.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import threading
from functools import partial

import torch
import uvicorn
from mlratchet.infra.child.keep_out import keep_users_code_out
from mlratchet.infra.keys.public import PublicKeyFile
from mlratchet.infra.ledger.heads import HeadFiles, place_of
from mlratchet.infra.ledger.objects import ObjectLedger
from mlratchet.infra.machine.interpreter import collect_seldom
from mlratchet.infra.serving.connections import MOST_HEADER_BYTES, most_connections, with_deadline
from mlratchet.infra.serving.loading import ArtifactLoader, closed_to_children
from mlratchet.infra.serving.memory import give_back, settle_imports
from mlratchet.infra.serving.pipelines import ServedPipelines
from mlratchet.infra.serving.requests import SHARED, ServingRequests
from mlratchet.infra.settings import ServerSettings, load_server_settings
from mlratchet.infra.storage.bounded import DocumentStore
from mlratchet.infra.storage.opening import Buckets
from mlratchet.models.serving.app import ServingApp
from mlratchet.models.serving.canary_follower import CanaryFollower
from mlratchet.models.serving.follower import ChampionFollower
from mlratchet.models.serving.hosts import AllowedHosts
from mlratchet.models.serving.metrics import Metrics
from mlratchet.models.serving.slot import Slot
from mlratchet.models.serving.watch import ChainWatch


def served_pipelines(app: ServingApp, service: str, settings: ServerSettings) -> ServedPipelines:
    """Over the adapters that the settings name, which all pipelines share."""
    buckets = Buckets(settings, DocumentStore)
    keys = PublicKeyFile(settings.trusted_keys or settings.home / "trusted-keys.json")
    store = buckets(settings.store_bucket)
    heads = HeadFiles(settings.home, place_of(settings), writes=False)
    ledger = ObjectLedger(store, keys, heads)
    loader = ArtifactLoader(buckets, closed=closed_to_children(settings))

    def follow(name: str, slot: Slot) -> ChampionFollower:
        seen = partial(heads.mark, name, "canary")
        beside = CanaryFollower(name, slot, keys=keys, store=store, loader=loader, seen=seen)
        return ChampionFollower(
            name, slot, ledger=ledger, keys=keys, store=store, loader=loader, give_back=give_back, beside=beside
        )

    return ServedPipelines(app, ServingRequests(settings.home), service=service, follow=follow, watch=ChainWatch(store))


def main() -> None:
    """Serve until SIGTERM; requests under way are answered first."""
    collect_seldom()
    parser = argparse.ArgumentParser(description="Serve champions over HTTP.")
    parser.add_argument("--service", default=SHARED, help="serve, or serve-NAME for a pipeline that wants its own.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("mlratchet").setLevel(logging.INFO)  # of ours what a person wants to know, too: every swap
    torch.set_num_threads(1)  # where no pipeline says otherwise of its own forwards
    settings = load_server_settings()
    keep_users_code_out(settings.home)
    app = ServingApp(Metrics(), AllowedHosts([arguments.host, *settings.serving_names.split(",")]))
    app.starting = True
    pipelines = served_pipelines(app, arguments.service, settings)
    asyncio.run(serve(app, pipelines, arguments.host, arguments.port))


async def serve(app: ServingApp, pipelines: ServedPipelines, host: str, port: int) -> None:
    """On this event loop. Pipelines are taken up by a thread, so that /health answers meanwhile."""
    loop = asyncio.get_running_loop()
    threading.Thread(target=pipelines.run, args=(loop, settle_imports), name="pipelines", daemon=True).start()
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=with_deadline(lambda: app.longest_read_s / 3),
        h11_max_incomplete_event_size=MOST_HEADER_BYTES,
        limit_concurrency=most_connections(),
        log_level="warning",
        timeout_graceful_shutdown=10,
    )
    try:
        await uvicorn.Server(config).serve()
    finally:
        pipelines.stopping.set()


if __name__ == "__main__":
    main()
