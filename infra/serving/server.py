"""The process that serves one pipeline's champion.

It reads the ledger, the champion's decision and its registration from S3, verifies every signature and byte, loads,
warms up and swaps. It needs the public list of keys, and neither MLflow's server nor Prefect nor a private key. Run as
``python -m mlratchet.infra.serving.server --pipeline NAME --port P``.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import torch
import uvicorn
from mlratchet.infra.artifact.exported import load_exported
from mlratchet.infra.artifact.fetch import fetch_artifact
from mlratchet.infra.keys.files import InstalledKeys
from mlratchet.infra.ledger.heads import open_heads
from mlratchet.infra.ledger.objects import ObjectLedger
from mlratchet.infra.machine.interpreter import collect_seldom
from mlratchet.infra.settings import load_settings
from mlratchet.infra.storage.opening import Buckets
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.registration.record import Registration
from mlratchet.models.serving.app import ModelServer
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.follower import ChampionFollower
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.serving.slot import Slot


class ArtifactLoader:
    """Loads a version's exported program from its bucket; nothing of it stays on the disk."""

    def __init__(self, open_artifacts: Callable[[str], ObjectStore]) -> None:
        self._open = open_artifacts

    def load(self, record: Registration, generation: int) -> Predictor:
        """The artifact's bytes verified against its record. Raises ``SecurityError`` for any difference."""
        folder = Path(tempfile.mkdtemp(prefix=f"ratchet-serve-{record.name}-"))
        try:
            fetch_artifact(self._open, record, folder)
            return Predictor(
                version=record.version,
                generation=generation,
                signature=Signature.from_json((folder / "signature.json").read_text()),
                model=load_exported(folder),
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def open_follower(name: str, slot: Slot) -> ChampionFollower:
    """Over the adapters that the settings name."""
    settings = load_settings()
    buckets, keys = Buckets(settings), InstalledKeys(settings)
    store = buckets(settings.store_bucket)
    ledger = ObjectLedger(store, keys, open_heads(settings, writes=False))
    return ChampionFollower(name, slot, ledger=ledger, keys=keys, store=store, loader=ArtifactLoader(buckets))


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
    config = ServingConfig.model_validate_json(arguments.serving)
    torch.set_num_threads(config.threads)
    slot = Slot()
    follower = open_follower(arguments.pipeline, slot)
    threading.Thread(target=follower.run, kwargs={"every_s": config.poll_seconds}, daemon=True).start()
    app = ModelServer(arguments.pipeline, slot, config).app()
    uvicorn.run(app, host=arguments.host, port=arguments.port, log_level="warning", timeout_graceful_shutdown=10)
    follower.stopping.set()


if __name__ == "__main__":
    main()
