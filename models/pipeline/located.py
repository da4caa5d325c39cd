"""Errors that name a key of a pipeline file, `gates.candidate.0: ...`, told with the line where it stands."""

from __future__ import annotations

import re
from pathlib import Path

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.gates.names import ALL_GATES
from mlratchet.models.gates.policy import GatePolicy
from mlratchet.models.pipeline.reading import KeyPath, parse_yaml, read_text

KEY = re.compile(r"^[a-z_]+(\.[\w-]+)*(?=: )")


def with_lines(error: ConfigurationError, file: Path, policy: GatePolicy) -> ConfigurationError:
    """The same problems, one a line, each as ``file:line: key: problem``. What names no key of the file stays."""
    document, lines = parse_yaml(read_text(file), where=str(file), expected="a pipeline file")
    told = []
    for problem in str(error).splitlines():
        key = KEY.match(problem)
        path = _path(key[0], policy) if key is not None else ()
        told.append(f"{file}:{lines.of(path)}: {problem}" if path and path[0] in document else problem)
    return type(error)("\n".join(told))


def _path(key: str, policy: GatePolicy) -> KeyPath:
    parts: list[str | int] = [int(part) if part.isdigit() else part for part in key.split(".")]
    if len(parts) >= 3 and parts[0] == "gates" and parts[1] in ALL_GATES and isinstance(parts[2], int):
        gate = str(parts[1])
        check, ours = policy.checks(gate)[parts[2]], getattr(policy, gate)
        return ("gates", gate, ours.index(check)) if check in ours else ("gates", "policy")  # of the shared file
    return tuple(parts)
