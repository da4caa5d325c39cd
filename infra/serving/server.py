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
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
import uvicorn
from mlratchet.infra.child.keep_out import keep_users_code_out
from mlratchet.infra.inference_log.client import LogClient
from mlratchet.infra.keys.public import PublicKeyFile
from mlratchet.infra.ledger.heads import HeadFiles, place_of
from mlratchet.infra.ledger.objects import ObjectLedger
from mlratchet.infra.machine.interpreter import collect_seldom
from mlratchet.infra.observability.gpu import register_gpus
from mlratchet.infra.serving.compiled import CompiledPrograms
from mlratchet.infra.serving.connections import configured, run_loop
from mlratchet.infra.serving.loading import ArtifactLoader, closed_to_children
from mlratchet.infra.serving.memory import give_back, settle_imports
from mlratchet.infra.serving.pipelines import ServedPipelines
from mlratchet.infra.serving.requests import SHARED, ServingRequests
from mlratchet.infra.serving.token_file import TokenFile
from mlratchet.infra.settings import ServerSettings, load_server_settings
from mlratchet.infra.storage.bounded import DocumentStore
from mlratchet.infra.storage.opening import Buckets
from mlratchet.models.serving.app import ServingApp
from mlratchet.models.serving.canary_follower import CanaryFollower
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.follower import ChampionFollower
from mlratchet.models.serving.hosts import AllowedHosts
from mlratchet.models.serving.metrics import Metrics
from mlratchet.models.serving.slot import Slot
from mlratchet.models.serving.tokens import Access
from mlratchet.models.serving.watch import ChainWatch


def served_pipelines(
    app: ServingApp, service: str, settings: ServerSettings, log: LogClient | None = None
) -> ServedPipelines:
    """Over the adapters that the settings name, which all pipelines share."""
    buckets = Buckets(settings, DocumentStore)
    keys = PublicKeyFile(settings.trusted_keys or settings.home / "trusted-keys.json")
    store = buckets(settings.store_bucket)
    heads = HeadFiles(settings.home, place_of(settings), writes=False)
    ledger = ObjectLedger(store, keys, heads)
    requests, watch = ServingRequests(settings.home), ChainWatch(store)
    programs = CompiledPrograms(settings.home, asked_of(ServingRequests(settings.home)))
    loader = ArtifactLoader(buckets, closed=closed_to_children(settings), programs=programs)

    def follow(name: str, slot: Slot) -> ChampionFollower:
        seen = partial(heads.mark, name, "canary")
        beside = CanaryFollower(name, slot, keys=keys, store=store, loader=loader, seen=seen)
        return ChampionFollower(
            name, slot, ledger=ledger, keys=keys, store=store, loader=loader, give_back=give_back, beside=beside
        )

    return ServedPipelines(app, requests, service=service, follow=follow, watch=watch, log=log)


def asked_of(requests: ServingRequests) -> Callable[[str], ServingConfig | None]:
    """How a pipeline is to be served, by its name."""

    def asked(name: str) -> ServingConfig | None:
        found = requests.read(name)
        return found.config if found is not None else None

    return asked


def main() -> None:
    """Serve until SIGTERM; requests under way are answered first."""
    collect_seldom()
    parser = argparse.ArgumentParser(description="Serve champions over HTTP.")
    parser.add_argument("--service", default=SHARED, help="serve, or serve-NAME for a pipeline that wants its own.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--tls-host", help="Where TLS is answered too; RATCHET_SERVING_TLS_... say how.")
    parser.add_argument("--tls-port", type=int, default=8443)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("mlratchet").setLevel(logging.INFO)  # of ours what a person wants to know, too: every swap
    torch.set_num_threads(1)  # where no pipeline says otherwise of its own forwards
    settings = load_server_settings()
    keep_users_code_out(settings.home)
    metrics = Metrics()
    register_gpus(metrics.registry)
    hosts = AllowedHosts([arguments.host, *settings.serving_names.split(",")])
    app = ServingApp(metrics, hosts, Access(TokenFile(settings.home).tokens))
    app.starting = True
    log = LogClient(settings.home)
    log.start()
    pipelines = served_pipelines(app, arguments.service, settings, log)
    header_s = partial(header_time, app)
    listening = [configured(app, host=arguments.host, port=arguments.port, header_s=header_s)]
    if arguments.tls_host:
        tls = settings.serving_tls_certificate, settings.serving_tls_key
        listening.append(configured(app, host=arguments.tls_host, port=arguments.tls_port, header_s=header_s, tls=tls))
    try:
        run_loop(serve(pipelines, listening))
    finally:
        log.close()


def header_time(app: ServingApp) -> float:
    """Seconds that a request's header may take: a third of what the most patient pipeline gives all of it."""
    return app.longest_read_s / 3


async def serve(pipelines: ServedPipelines, listening: Sequence[uvicorn.Config]) -> None:
    """On this event loop. Pipelines are taken up by a thread, so that /health answers meanwhile."""
    loop = asyncio.get_running_loop()
    threading.Thread(target=pipelines.run, args=(loop, settle_imports), name="pipelines", daemon=True).start()
    servers = [Listener(config) for config in listening]
    try:
        await until_one_ends(servers)
    finally:
        pipelines.stopping.set()


class Listener(uvicorn.Server):
    """At one address. uvicorn would raise a signal again once it has stopped listening, which ends the process before
    what waits for the inference log was sent."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing: `until_one_ends` does it for all."""
        yield


async def until_one_ends(servers: Sequence[uvicorn.Server]) -> None:
    """A signal ends all of them, and one that cannot listen ends the others with it. A second signal does not wait for
    what is under way."""
    loop = asyncio.get_running_loop()

    def end() -> None:
        for one in servers:
            one.force_exit = one.should_exit
            one.should_exit = True

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end)

    async def run(server: uvicorn.Server) -> None:
        try:
            await server.serve()
        finally:
            for one in servers:
                one.should_exit = True

    await asyncio.gather(*map(run, servers))


if __name__ == "__main__":
    main()
