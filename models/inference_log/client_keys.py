"""The key that a client sends in a header, as it is kept, and how somebody's key is found again."""

from __future__ import annotations

import hashlib
import unicodedata
from typing import Literal

KEY_CHARACTERS = 200  # of a key that is kept
BEFORE = KEY_CHARACTERS - 65  # of a longer one, before a mark and its SHA-256
FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")


def kept_key(header: bytes) -> str:
    """A header in words: UTF-8 where it is that, else Latin-1, which HTTP once said. Of one that is too long its
    beginning and the digest of the whole, so that two are never one."""
    try:
        text = header.decode()
    except UnicodeDecodeError:
        text = header.decode("latin-1")
    if len(text) <= KEY_CHARACTERS:
        return text
    return f"{text[:BEFORE]}~{hashlib.sha256(text.encode()).hexdigest()}"


def forms_of(key: str) -> tuple[str, ...]:
    """How a key may stand in a log: as it was given, without blanks around it, in either Unicode form, and as earlier
    releases kept UTF-8: read as Latin-1, and cut."""
    written = [key, *(unicodedata.normalize(form, key.strip()) for form in FORMS)]
    bodies = [one.encode("utf-8", "replace") for one in written]
    earlier = [one.decode("latin-1") for one in bodies]
    short = len(key) <= KEY_CHARACTERS  # what is longer is one of several clients, and their rows cannot be told apart
    return tuple(dict.fromkeys([*map(kept_key, bodies), *(one[:KEY_CHARACTERS] for one in earlier if short)]))
