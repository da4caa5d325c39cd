"""The process that serves one pipeline's champion.

It reads the ledger, the champion's decision and its registration from S3, verifies every signature and byte, loads,
warms up and swaps. It needs the public list of keys and an S3 identity that may read, and neither MLflow's server nor
Prefect, a password or a private key. A user's own objective and preparation answer in children,
which have not even what may read.
Run as ``python -m mlratchet.infra.serving.server --pipeline NAME --port P``.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import torch
import uvicorn
from mlratchet.infra.artifact.exported import load_exported
from mlratchet.infra.artifact.fetch import fetch_artifact
from mlratchet.infra.artifact.preparing import ANSWER_S, preparer_here, refuse_other_preparation
from mlratchet.infra.child.keep_out import keep_users_code_out
from mlratchet.infra.child.lasting import LastingChild
from mlratchet.infra.keys.public import PublicKeyFile
from mlratchet.infra.ledger.heads import HeadFiles, place_of
from mlratchet.infra.ledger.objects import ObjectLedger
from mlratchet.infra.machine.interpreter import collect_seldom
from mlratchet.infra.serving.connections import MOST_CONNECTIONS, MOST_HEADER_BYTES, with_deadline
from mlratchet.infra.serving.memory import give_back, settle_imports
from mlratchet.infra.settings import ServerSettings, load_server_settings
from mlratchet.infra.storage.bounded import DocumentStore
from mlratchet.infra.storage.opening import Buckets
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.objectives.away import ObjectiveAway
from mlratchet.models.objectives.base import Objective
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.registration.record import Registration
from mlratchet.models.serving.app import ServingApp
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.endpoint import Endpoint
from mlratchet.models.serving.follower import ChampionFollower
from mlratchet.models.serving.hosts import AllowedHosts
from mlratchet.models.serving.metrics import Metrics
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.serving.slot import Slot


class ArtifactLoader:
    """Loads a version's exported program from its bucket; nothing of it stays on the disk. `closed`: what the children
    of a version with a user's own objective or preparation never read."""

    def __init__(self, open_artifacts: Callable[[str], ObjectStore], closed: tuple[Path, ...] = ()) -> None:
        self._open, self._closed = open_artifacts, closed

    def load(self, record: Registration, generation: int) -> Predictor:
        """The artifact's bytes verified against its record. Raises ``SecurityError`` for any difference."""
        folder = Path(tempfile.mkdtemp(prefix=f"ratchet-serve-{record.name}-"))
        try:
            fetch_artifact(self._open, record, folder)
            signature = Signature.from_json((folder / "signature.json").read_text())
            objective = self._objective(signature.task)
            preparer = preparer_here(signature, self._closed)
            refuse_other_preparation(folder, signature, f"{record.name} version {record.version}", preparer)
            return Predictor(
                version=record.version,
                generation=generation,
                signature=signature,
                model=load_exported(folder),
                objective=objective,
                answer_schema=objective.answer_schema(signature.classes) if objective is not None else None,
                preparer=preparer,
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _objective(self, task: str) -> Objective | None:
        """A user's own: in a child for this version alone, so that the version before answers as it did."""
        if ":" not in task:
            return None
        return ObjectiveAway(task, LastingChild(closed=self._closed, most_s=ANSWER_S))


def open_follower(name: str, slot: Slot, settings: ServerSettings) -> ChampionFollower:
    """Over the adapters that the settings name."""
    buckets = Buckets(settings, DocumentStore)
    keys = PublicKeyFile(settings.trusted_keys or settings.home / "trusted-keys.json")
    store = buckets(settings.store_bucket)
    ledger = ObjectLedger(store, keys, HeadFiles(settings.home, place_of(settings), writes=False))
    loader = ArtifactLoader(buckets, closed=closed_to_children(settings))
    return ChampionFollower(name, slot, ledger=ledger, keys=keys, store=store, loader=loader, give_back=give_back)


def closed_to_children(settings: ServerSettings) -> tuple[Path, ...]:
    """Folders with keys, though this process has none of them open."""
    return settings.home, *(Path(folder) for folder in settings.key_folders.split(os.pathsep) if folder)


def main() -> None:
    """Serve until SIGTERM; requests under way are answered first."""
    collect_seldom()
    parser = argparse.ArgumentParser(description="Serve the champion of a pipeline over HTTP.")
    parser.add_argument("--pipeline", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--serving", default="{}", help="The pipeline's serving section as JSON.")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("mlratchet").setLevel(logging.INFO)  # of ours what a person wants to know, too: every swap
    config = ServingConfig.model_validate_json(arguments.serving)
    torch.set_num_threads(config.threads)
    slot = Slot()
    settings = load_server_settings()
    keep_users_code_out(settings.home)
    follower = open_follower(arguments.pipeline, slot, settings)

    def follow() -> None:
        settle_imports()  # here, so that /health answers meanwhile
        follower.run(every_s=config.poll_seconds)

    threading.Thread(target=follow, daemon=True).start()
    hosts = AllowedHosts([arguments.host, *settings.serving_names.split(",")])
    app = ServingApp(Metrics(), hosts)
    app.take_up(Endpoint(arguments.pipeline, slot, config, metrics=app.metrics))
    uvicorn.run(
        app,
        host=arguments.host,
        port=arguments.port,
        http=with_deadline(config.read_seconds / 3),
        h11_max_incomplete_event_size=MOST_HEADER_BYTES,
        limit_concurrency=MOST_CONNECTIONS,
        log_level="warning",
        timeout_graceful_shutdown=10,
    )
    follower.stopping.set()


if __name__ == "__main__":
    main()
