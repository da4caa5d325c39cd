"""The pipelines that this home was asked to serve: a file each, written by whoever deploys, read by who serves."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlratchet.infra.machine.atomic import write_atomically
from mlratchet.models.serving.config import ServingConfig

logger = logging.getLogger(__name__)
SHARED = "serve"  # the process of all pipelines that have none of their own


@dataclass(frozen=True, kw_only=True)
class ServingRequest:
    """One of them."""

    pipeline: str
    config: ServingConfig

    @property
    def process(self) -> str:
        """The service that serves it."""
        return SHARED if self.config.process == "shared" else f"{SHARED}-{self.pipeline}"


class ServingRequests:
    """Of one home. What was read is kept until its file changes: to look costs a few microseconds."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "serving"
        self._held: dict[Path, tuple[int, ServingRequest | None]] = {}

    def file(self, pipeline: str) -> Path:
        """Of a pipeline that is to be served."""
        return self._folder / f"{pipeline}.json"

    def write(self, request: ServingRequest) -> None:
        """Idempotent: a file that says the same stays as it is."""
        file = self.file(request.pipeline)
        file.parent.mkdir(parents=True, exist_ok=True)
        said = request.config.model_dump(mode="json")
        form = said.pop("form", [])  # beside the rest: a server of an earlier release goes on with what it knows
        held = {"pipeline": request.pipeline, "serving": said, **({"form": form} if form else {})}
        text = json.dumps(held, sort_keys=True)
        if not file.is_file() or file.read_text() != text:
            write_atomically(file, text)

    def read(self, pipeline: str) -> ServingRequest | None:
        """None where it is not to be served."""
        return next((one for one in self if one.pipeline == pipeline), None)

    def __iter__(self) -> Iterator[ServingRequest]:
        """By name. One that cannot be read is left out and told once: the others are served."""
        found: dict[Path, tuple[int, ServingRequest | None]] = {}
        for file in sorted(self._folder.glob("*.json")):
            try:
                changed_ns = file.stat().st_mtime_ns
            except OSError:
                continue  # it was withdrawn meanwhile
            held = self._held.get(file)
            found[file] = held if held is not None and held[0] == changed_ns else (changed_ns, _read(file))
        self._held = found
        return (request for _, request in found.values() if request is not None)


def _read(file: Path) -> ServingRequest | None:
    try:
        held = json.loads(file.read_text())
        said = {"form": held.get("form", []), **held["serving"]}
        config = ServingConfig.model_validate_json(json.dumps(said))  # a pair is a list in JSON
        return ServingRequest(pipeline=held["pipeline"], config=config)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        words = " ".join(str(error).split())[:300]
        logger.error("%s cannot be read, and its pipeline is not served: %s", file, words)
        return None
