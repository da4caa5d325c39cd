"""Why a request failed, in a few words: clients' own messages run over many lines."""

from __future__ import annotations

import re

KNOWN = (
    (r"Read timed out|ReadTimeout", "no answer in time"),
    (r"Connection refused|NewConnectionError", "connection refused"),
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
