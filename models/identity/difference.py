"""What differs between the parts of two identities, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Path = tuple[str, ...]
CODE = {
    "modules": "code of {name}",
    "product": "Ratchet's code of {name}",
    "files": "file {name}",
    "packages": "package {name}",
}
NONE = "none"


def differences(before: Mapping[str, Any], after: Mapping[str, Any], *, ratchet: str) -> list[str]:
    """A phrase for each part that differs, e.g. ``train.epochs 10 -> 3`` or ``code of net``, in the order of `after`.

    `ratchet` says what Ratchet's own code does that these identities hold.
    """
    old, new = dict(_leaves(before)), dict(_leaves(after))
    paths = [*new, *(path for path in old if path not in new)]
    return [_phrase(path, old.get(path), new.get(path), ratchet) for path in paths if old.get(path) != new.get(path)]


def _leaves(value: Mapping[str, Any], at: Path = ()) -> Iterator[tuple[Path, Any]]:
    for name, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from _leaves(item, (*at, str(name)))
        elif item != {}:
            yield (*at, str(name)), item


def _phrase(path: Path, old: Any, new: Any, ratchet: str) -> str:
    if len(path) == 1 or path[0] != "code":
        return f"{'.'.join(path)} {_word(old)} -> {_word(new)}"
    kind, name = path[1], ".".join(path[2:])
    if kind == "ratchet":
        return f"Ratchet's own code that {ratchet}"
    said = CODE.get(kind, f"{kind} {{name}}").format(name=name)
    if kind == "packages":
        return f"{said} {_word(old)} -> {_word(new)}"
    return said if None not in (old, new) else f"{said} ({'added' if old is None else 'no longer part of it'})"


def _word(value: Any) -> str:
    """Short enough for a line: the beginning of a digest, of a long text or list."""
    text = NONE if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."
