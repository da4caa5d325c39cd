"""Ask a model server, as a client would: with the files that a pipeline reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from mlratchet.infra.serving.client_files import TableWriting, Takes, instances_of
from mlratchet.models.errors import ConfigurationError, DataError, InfrastructureError
from mlratchet.models.serving.config import MOST_BYTES, ServingConfig

TIMEOUT_S = 30.0
READY_S = 5.0
AT_ONCE = 256  # instances of a request
BODY = b'{"instances":[%s]}'


class TooLargeError(DataError):
    """A request that the server does not take whole (413)."""


def predict_files(
    url: str | None,
    pipeline: str,
    files: Sequence[Path],
    *,
    withdrawn: str | None = None,
    tables: TableWriting | None = None,
) -> dict[str, Any]:
    """The predictions of the server at `url` for all that the files hold, with the names of the instances.

    `tables`: how tables are written, where a pipeline file says it. `withdrawn`: how a person took the pipeline out of
    service. Raises ``DataError`` for a 4xx and a file that holds no instance, and ``ConfigurationError`` where there is
    no server.
    """
    if withdrawn is not None:
        raise ConfigurationError(f"{pipeline} is {withdrawn}; {way_back(pipeline)}")
    if url is None:
        raise ConfigurationError(f"no server for {pipeline!r}; `ratchet run {pipeline}` promotes and deploys one")
    with httpx.Client(base_url=url, timeout=TIMEOUT_S) as client:
        refuse_unready(client, pipeline)
        described = asked(client, pipeline, "GET", "/openapi.json")
        takes = replace(takes_of(described), written=tables or TableWriting())
        instances = [one for file in files for one in instances_of(file, takes)]
        predictions: list[Any] = []
        answer: dict[str, Any] = {}
        for answer in answers_to(client, pipeline, [instance for _, instance in instances], **limits_of(described)):
            predictions += answer["predictions"]
    return {"predictions": predictions, "version": answer["version"], "instances": [name for name, _ in instances]}


def way_back(pipeline: str) -> str:
    """How a pipeline that was stopped or removed is served again."""
    return f"`ratchet deploy {pipeline}` starts it again"


def answers_to(
    client: httpx.Client, pipeline: str, instances: Sequence[Any], *, most: int, most_bytes: int
) -> Iterator[dict[str, Any]]:
    """The answers to as few requests as the server takes.

    It says how many instances and bytes; what else it limits, as the pixels of a request, shows by its refusal, and
    fewer are sent from then on. One instance alone is for the server to refuse.
    """
    written = [json.dumps(one, separators=(",", ":"), allow_nan=False).encode() for one in instances]
    at = 0
    while at < len(written):
        count = fitting(written[at : at + most], most_bytes)
        try:
            answer = asked(client, pipeline, "POST", "/predict", BODY % b",".join(written[at : at + count]))
        except TooLargeError:
            if count == 1:
                raise
            most = count // 2
            continue
        yield answer
        at += count


def fitting(written: Sequence[bytes], most_bytes: int) -> int:
    """How many of these instances, at least one, make a body of at most so many bytes."""
    size = len(BODY % b"")
    for count, one in enumerate(written):
        size += len(one) + (count > 0)  # the comma
        if size > most_bytes:
            return max(1, count)
    return len(written)


def refuse_unready(client: httpx.Client, pipeline: str) -> None:
    """Raises ``InfrastructureError`` for a server that has no version yet: what it says of its model is of none."""
    try:
        reply = client.get("/ready", timeout=READY_S)
    except httpx.HTTPError:
        return  # what is asked of it next is told as it is
    if reply.status_code == 503:
        raise InfrastructureError(
            f"{client.base_url} answers 503, it has no version to answer with ({reason_of(reply)}); see `ratchet logs "
            f"serve-{pipeline}`"
        )


def limits_of(described: dict[str, Any]) -> dict[str, int]:
    """Of one request to the server that is described; one of an earlier release says nothing of bytes."""
    post = described["paths"]["/predict"]["post"]
    return {
        "most": min(AT_ONCE, instances_in(described).get("maxItems", AT_ONCE)),
        "most_bytes": post.get(MOST_BYTES, ServingConfig().max_request_bytes),
    }


def asked(client: httpx.Client, pipeline: str, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
    """The JSON of an answer."""
    url = client.base_url
    try:
        reply = client.request(method, path, content=body, headers={"content-type": "application/json"})
    except httpx.HTTPError as exc:
        raise InfrastructureError(
            f"{url}: {exc}; the server answers no more: `ratchet status`, `ratchet logs serve-{pipeline}`"
        ) from exc
    if 400 <= reply.status_code < 500:
        refused = TooLargeError if reply.status_code == 413 else DataError
        raise refused(f"{url} answered {reply.status_code}: {reply.text}")
    if reply.status_code != 200:
        why = reason_of(reply)
        raise InfrastructureError(
            f"{url} answered {reply.status_code}{f' ({why})' if why else ''}; see `ratchet logs serve-{pipeline}`"
        )
    answer: dict[str, Any] = reply.json()
    return answer


def takes_of(described: dict[str, Any]) -> Takes:
    """By name, where an instance can be told by name."""
    items = instances_in(described)["items"]
    named: dict[str, Any] = next((one for one in items.get("oneOf", [items]) if one.get("properties")), {})
    fields: dict[str, Any] = named.get("properties", {})
    files = [name for name, one in fields.items() if one.get("contentEncoding") == "base64"]
    return Takes(
        columns=() if files else tuple(fields),
        words=frozenset(name for name, one in fields.items() if "string" in one.get("type", ())),
        file=files[0] if len(files) == 1 and set(named.get("required", ())) <= set(files) else None,
    )


def instances_in(described: dict[str, Any]) -> dict[str, Any]:
    """What a server says of a list of instances; one of an earlier release takes nothing else."""
    body = described["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    told: dict[str, Any] = body.get("anyOf", [body])[0]["properties"]["instances"]
    return told


def readiness(url: str) -> str:
    """How the server at `url` is, in words."""
    try:
        reply = httpx.get(f"{url}/ready", timeout=READY_S)
    except httpx.HTTPError as error:
        return f"NOT READY: {type(error).__name__}"
    why = reason_of(reply)
    if reply.status_code != 200:
        return f"NOT READY: {reply.status_code} {why}".strip()
    return f"healthy; behind: {why}" if why else "healthy"


def reason_of(reply: httpx.Response) -> str:
    """What an answer of `/ready` says is wrong; of another answer, how it begins."""
    try:
        told = reply.json()
        return str(told.get("reason") or told.get("behind") or "")[:300]
    except (ValueError, AttributeError):
        return reply.text[:100]
