"""YAML with a reason behind every line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml
from mlratchet.models.pipeline.reading import Loader

PLAIN = re.compile(r"^[A-Za-z_][\w./:-]*$", re.ASCII)
NAMED = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
WIDTH = 40  # column of the comments, where there is room


def scalar(value: Any) -> str:
    """A value on one line; text is quoted wherever YAML could take it for something else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(scalar(one) for one in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{scalar(key)}: {scalar(one)}' for key, one in value.items())}}}"
    text = str(value)
    if PLAIN.match(text) and not text.endswith(":") and yaml.load(text, Loader=Loader) == text:  # noqa: S506 - a SafeLoader
        return text
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(one: str) -> str:
    if one in ('"', "\\"):
        return f"\\{one}"
    if one.isprintable():
        return one
    if one in NAMED:
        return NAMED[one]
    return (
        f"\\x{ord(one):02x}" if ord(one) < 256 else f"\\u{ord(one):04x}" if ord(one) < 65536 else f"\\U{ord(one):08x}"
    )


class Commented:
    """Lines of a file."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def section(self, key: str, why: str = "", *, depth: int = 0) -> None:
        """A key that has others below it."""
        if not depth:
            self._lines.append("")
        self._add(f"{'  ' * depth}{key}:", why)

    def entry(self, key: str, value: Any, why: str = "", *, depth: int = 0) -> None:
        """A key and its value."""
        self._add(f"{'  ' * depth}{scalar(key)}: {scalar(value)}", why)

    def item(self, value: Mapping[str, Any], why: str = "", *, depth: int = 0) -> None:
        """One of a list."""
        self._add(f"{'  ' * depth}- {scalar(value)}", why)

    def item_text(self, value: str, *, depth: int) -> None:
        """One text of a list."""
        self._lines.append(f"{'  ' * depth}- {scalar(value)}")

    def remark(self, words: str, *, depth: int = 0) -> None:
        """A line of its own."""
        self._lines.append(f"{'  ' * depth}# {_one_line(words)}")

    def _add(self, line: str, why: str) -> None:
        self._lines.append(f"{line:<{WIDTH}} # {_one_line(why)}" if why else line)

    def text(self) -> str:
        """The file."""
        return "\n".join(self._lines) + "\n"


def _one_line(words: str) -> str:
    return "".join(one if one.isprintable() else " " for one in words)
