"""The process that serves one pipeline's champion.

It reads the ledger, the champion's decision and its registration from S3, verifies every signature and byte, loads,
warms up and swaps. It needs the public list of keys, and neither MLflow's server nor Prefect nor a private key. Run as
``python -m mlratchet.infra.serving.server --pipeline NAME --port P``.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import tempfile
import threading
from pathlib import Path

import torch
import uvicorn
from mlratchet.infra.artifact.exported import load_exported
from mlratchet.infra.artifact.fetch import fetch_artifact
from mlratchet.infra.keys.files import InstalledKeys
from mlratchet.infra.ledger.objects import ObjectLedger
from mlratchet.infra.machine.interpreter import collect_seldom
from mlratchet.infra.settings import Settings, load_settings
from mlratchet.infra.storage.opening import open_bucket
from mlratchet.infra.storage.s3 import S3Store
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.decisions.signature import Context
from mlratchet.models.errors import RatchetError, SecurityError
from mlratchet.models.fault_points import fault_point
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.promotion.verify import verify_entry
from mlratchet.models.registration.record import find_registration
from mlratchet.models.serving.app import ModelServer, Slot
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.predictor import Predictor

logger = logging.getLogger(__name__)


class Follower:
    """Follows the ledger and keeps the slot at its head."""

    def __init__(self, settings: Settings, name: str, slot: Slot, config: ServingConfig) -> None:
        self._settings, self._name, self._slot, self._config = settings, name, slot, config
        self._store = self._bucket(settings.store_bucket)
        self._keys = InstalledKeys(settings)
        self._ledger = ObjectLedger(self._store, self._keys)
        self.stopping = threading.Event()

    def _bucket(self, name: str) -> S3Store:
        settings = self._settings
        return open_bucket(settings, name)

    def run(self) -> None:
        """Until stopped. A champion that cannot be loaded leaves the old one serving and says so in /health."""
        while not self.stopping.is_set():
            try:
                self.follow()
            except Exception as error:  # noqa: BLE001 - the old champion must go on serving whatever the new one is
                line = error.line() if isinstance(error, RatchetError) else f"{type(error).__name__}: {error}"
                if line != self._slot.load_error:
                    logger.error("champion of %s cannot be served: %s", self._name, line)
                self._slot.load_error = line
            self.stopping.wait(self._config.poll_seconds)

    def follow(self) -> None:
        """Load the ledger's head unless it is served already."""
        chain = self._ledger.chain(self._name)
        head = chain.head.entry if chain.head is not None else None
        current = self._slot.current
        refuse_shorter(head, current.generation if current is not None else 0, name=self._name)
        if head is None or (current is not None and current.generation == head.generation):
            self._slot.load_error = ""  # what was wrong has been put right
            return
        verify_entry(
            self._store,
            [link.entry for link in chain.links],
            head.generation,
            Context(self._keys.trusted(), chain, head.generation),
        )
        predictor = self.load(head)
        predictor.warm_up()
        fault_point("serve.before_swap")
        self._slot.swap(predictor)
        logger.warning("%s: version %s (generation %s) is served", self._name, head.version, head.generation)

    def load(self, head: LedgerEntry) -> Predictor:
        """The champion's bytes, verified against its entry. Raises ``SecurityError`` for any difference."""
        record = find_registration(self._store, head.work_key)
        if record is None or record.version != head.version:
            raise SecurityError(f"{self._name} version {head.version}: its registration record is missing or another's")
        if record.manifest_digest != head.manifest:
            raise SecurityError(
                f"{self._name} version {head.version}: manifest {record.manifest_digest[:12]} is not the promoted "
                f"{head.manifest[:12]}; the registration was changed"
            )
        folder = Path(tempfile.mkdtemp(prefix=f"ratchet-serve-{self._name}-"))
        try:
            fetch_artifact(self._bucket, record, folder)
            return Predictor(
                version=head.version,
                generation=head.generation,
                signature=Signature.from_json((folder / "signature.json").read_text()),
                model=load_exported(folder),
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def refuse_shorter(head: LedgerEntry | None, served: int, *, name: str) -> None:
    """Raises ``SecurityError`` when the ledger ends before the generation that is served."""
    ends = head.generation if head is not None else 0
    if ends < served:
        raise SecurityError(
            f"ledger/{name}/ ends with generation {ends}, but {served} is served: its newest entries were removed; "
            "restore them from a copy of the bucket"
        )


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
    config = ServingConfig(**json.loads(arguments.serving))
    torch.set_num_threads(config.threads)
    slot = Slot()
    follower = Follower(load_settings(), arguments.pipeline, slot, config)
    thread = threading.Thread(target=follower.run, daemon=True)
    thread.start()
    app = ModelServer(arguments.pipeline, slot, config).app()
    uvicorn.run(app, host=arguments.host, port=arguments.port, log_level="warning", timeout_graceful_shutdown=10)
    follower.stopping.set()


if __name__ == "__main__":
    main()
