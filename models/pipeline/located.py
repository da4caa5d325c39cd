"""Errors that name a key of a pipeline file, `gates.candidate.0: ...`, told with the line where it stands."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.gates.names import ALL_GATES
from mlratchet.models.gates.policy import GatePolicy
from mlratchet.models.pipeline.reading import KeyPath, parse_yaml, read_text

KEY = re.compile(r"^[a-z_]+(\.[\w-]+)*(?=: )")


def with_lines(
    error: ConfigurationError, file: Path, policy: GatePolicy, left_out: Collection[KeyPath] = ()
) -> ConfigurationError:
    """The same problems, one a line, each as ``file:line: key: problem``. What names no key of the file stays.

    `left_out`: checks of the file that are not part of `policy`.
    """
    document, lines = parse_yaml(read_text(file), where=str(file), expected="a pipeline file")
    told = []
    for problem in str(error).splitlines():
        key = KEY.match(problem)
        path = _path(key[0], policy, left_out) if key is not None else ()
        if key is not None and path[:1] == ("gates",) and path[-1] != "policy":
            problem = ".".join(map(str, path)) + problem[key.end() :]
        told.append(f"{file}:{lines.of(path)}: {problem}" if path and path[0] in document else problem)
    return type(error)("\n".join(told))


def _path(key: str, policy: GatePolicy, left_out: Collection[KeyPath]) -> KeyPath:
    parts: list[str | int] = [int(part) if part.isdigit() else part for part in key.split(".")]
    if len(parts) >= 3 and parts[0] == "gates" and parts[1] in ALL_GATES and isinstance(parts[2], int):
        gate = str(parts[1])
        check, ours = policy.checks(gate)[parts[2]], getattr(policy, gate)
        if check not in ours:
            return ("gates", "policy")  # of the shared file
        return in_file(("gates", gate, ours.index(check)), left_out)
    return tuple(parts)


def in_file(path: KeyPath, left_out: Collection[KeyPath]) -> KeyPath:
    """Where in the file something stands that is at `path` of a document without the items `left_out` of its lists."""
    found: KeyPath = ()
    for part in path:
        if isinstance(part, int):
            items = [one[-1] for one in left_out if len(one) == len(found) + 1 and one[:-1] == found]
            for gone in sorted(item for item in items if isinstance(item, int)):
                part += gone <= part
        found = (*found, part)
    return found
