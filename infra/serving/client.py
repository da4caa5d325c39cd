"""Ask a model server, as a client would."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from mlratchet.models.errors import ConfigurationError, DataError, InfrastructureError

TABLES = (".csv", ".tsv", ".txt", ".parquet")  # whole deliveries, of which the server would take the bytes for an image


def instance_of(file: Path) -> Any:
    """One instance of a request: the values of a JSON file, or an image."""
    try:
        data = file.read_bytes()
    except OSError as exc:
        raise DataError(f"{file}: cannot be read: {exc.strerror}") from exc
    if file.suffix.lower() == ".json":
        try:
            return json.loads(data)
        except ValueError as exc:
            raise DataError(f"{file}: not JSON: {exc}") from exc
    if file.suffix.lower() in TABLES:
        raise DataError(f'{file}: is a table; an instance is one row as a .json file, such as {{"column": 1.5, ...}}')
    return {"image_base64": base64.b64encode(data).decode()}


def predict_files(url: str | None, pipeline: str, files: Sequence[Path]) -> dict[str, Any]:
    """The answer of the server at `url` to one request with all files. Raises ``DataError`` for a 4xx, and
    ``ConfigurationError`` where there is no server."""
    if url is None:
        raise ConfigurationError(f"no server for {pipeline!r}; `ratchet run {pipeline}` promotes and deploys one")
    try:
        reply = httpx.post(f"{url}/predict", json={"instances": [instance_of(file) for file in files]}, timeout=30)
    except httpx.HTTPError as exc:
        raise InfrastructureError(f"{url}: {exc}; see `ratchet logs serve-{pipeline}`") from exc
    if 400 <= reply.status_code < 500:
        raise DataError(f"{url} answered {reply.status_code}: {reply.text}")
    if reply.status_code != 200:
        raise InfrastructureError(f"{url} answered {reply.status_code}; see `ratchet logs serve-{pipeline}`")
    answer: dict[str, Any] = reply.json()
    return answer


def reason_of(reply: httpx.Response) -> str:
    """What an answer of `/ready` says is wrong; of another answer, how it begins."""
    try:
        told = reply.json()
        return str(told.get("reason") or told.get("behind") or "")[:300]
    except (ValueError, AttributeError):
        return reply.text[:100]
