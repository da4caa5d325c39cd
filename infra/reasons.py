"""Why a request failed, in a few words: clients' own messages run over many lines."""

from __future__ import annotations

import errno
import re

import httpx
from mlratchet.models.errors import InfrastructureError

KNOWN = (
    (r"Read timed out|ReadTimeout", "no answer in time"),
    (r"Connection refused|NewConnectionError|All connection attempts failed", "connection refused"),
    (r"ConnectionResetError|RemoteDisconnected|Connection aborted", "the connection was cut"),
    (r"Name or service not known|NameResolutionError", "unknown host"),
    (r"too many (\d+) error responses", "the server failed again and again"),
)


def brief(error: Exception | None) -> str:
    """One short line."""
    text = str(error)
    for pattern, words in KNOWN:
        if re.search(pattern, text):
            return words
    return text.strip().splitlines()[0][:300] if text.strip() else type(error).__name__


def server_error(error: Exception) -> InfrastructureError | None:
    """The failed request of a library's client, Prefect's above all, as an error of ours; None for any other error."""
    if not isinstance(error, httpx.HTTPError):
        return None
    try:
        url = error.request.url
    except RuntimeError:  # raised before there was a request
        return InfrastructureError(f"{brief(error)}; `ratchet status` says what is down")
    where = f"{error.request.method} {url.scheme}://{url.netloc.decode().rpartition('@')[2]}{url.path}"
    if isinstance(error, httpx.HTTPStatusError):
        code = error.response.status_code
        if code in (401, 403):
            return InfrastructureError(f"{where}: answered {code}: it refused the credentials, see `ratchet env`")
        said = " ".join(error.response.text.split())[:300] if code < 500 else ""  # what is wrong with the request
        return InfrastructureError(f"{where}: answered {code}{said and f': {said}'}; see `ratchet logs prefect`")
    return InfrastructureError(f"{where}: {brief(error)}; `ratchet status` says what is down, `ratchet up` starts it")


def no_room(error: Exception) -> InfrastructureError | None:
    """A disk that took no more, of a file or of what this command prints; None for any other error."""
    if not isinstance(error, OSError) or error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    where = error.filename or "what the command prints goes to a disk"
    return InfrastructureError(f"{where}: {error.strerror}; make room there and run the command again")
