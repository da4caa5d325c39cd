"""What a Python source file says, without how it is written: comments and formatting do not count, and docstrings only
where the file reads them."""

from __future__ import annotations

import ast
import hashlib
import threading
from pathlib import Path
from typing import Any, NamedTuple

from mlratchet.models.identity.called_imports import CalledImport, called_imports

SKIPPED = frozenset({"ctx", "kind", "type_ignores", "type_comment"})
"""Fields that follow from where a node stands, or come from a comment or the spelling of a literal."""

READS_DOCSTRINGS = (b"__doc__", b"getdoc")
"""Where these stand in a file its docstrings do something: a usage, a prompt, a table of words."""

_PARSING = threading.Lock()


class Import(NamedTuple):
    """One import statement: `import module`, or `from module import names` with `level` leading dots."""

    module: str
    names: tuple[str, ...]
    level: int


class Source(NamedTuple):
    """A file as identities see it."""

    digest: str  # SHA-256 hex of the normal form, or of the bytes where they are no Python
    imports: tuple[Import, ...]
    called: tuple[CalledImport, ...] = ()  # imports that are calls


def parse(data: bytes) -> ast.Module:
    """`ast.parse`, by one thread at a time: Python 3.11 counts the depth of a tree per interpreter and ends in a
    ``SystemError`` where another thread parses while a callback of the garbage collector runs."""
    with _PARSING:
        return ast.parse(data)


def read_source(data: bytes) -> Source:
    """The normal form of a module's bytes. What this Python cannot parse counts byte by byte and imports nothing.

    The form is written here, over the syntax tree, rather than by `ast.dump` or `ast.unparse`: their text differs
    between releases of Python (3.13 leaves out empty lists, 3.12 quotes f-strings otherwise), and a new interpreter is
    no reason to train again. Empty fields are left out, so that a field which a later Python adds changes nothing.
    """
    try:
        tree = parse(data)
        words: list[str] = []
        imports: list[Import] = []
        _write(tree, words, imports, texts=any(mark in data for mark in READS_DOCSTRINGS))
        called = called_imports(tree, data)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # ValueError: null bytes; the last two: too deep
        return Source(hashlib.sha256(data).hexdigest(), ())
    digest = hashlib.sha256("".join(words).encode("utf-8", "surrogatepass")).hexdigest()
    return Source(digest, tuple(imports), called)


def _write(node: ast.AST, words: list[str], imports: list[Import], *, texts: bool) -> None:
    if isinstance(node, ast.Import):
        imports += [Import(alias.name, (), 0) for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        imports.append(Import(node.module or "", tuple(alias.name for alias in node.names), node.level))
    words += (node.__class__.__name__, "(")
    constant = isinstance(node, ast.Constant)
    for name in node._fields:
        value = getattr(node, name, None)
        if name in SKIPPED or (not constant and (value is None or value == [])):
            continue
        words += (name, "=")
        _write_value(value, words, imports, texts=texts)
        words.append(",")
    words.append(")")


def _write_value(value: Any, words: list[str], imports: list[Import], *, texts: bool) -> None:
    if isinstance(value, ast.AST):
        _write(value, words, imports, texts=texts)
    elif isinstance(value, list):
        words.append("[")
        for item in value:
            if texts or not _is_text_alone(item):
                _write_value(item, words, imports, texts=texts)
                words.append(",")
        words.append("]")
    else:
        words.append(repr(value))


def _is_text_alone(item: Any) -> bool:
    """A docstring, or a text below a field that says what it is: a statement that does nothing."""
    return isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant) and isinstance(item.value.value, str)


_KNOWN: dict[str, tuple[int, int, Source]] = {}  # path -> modified (ns), size (bytes), what was read


def read_file(path: Path) -> Source:
    """`read_source` of a file, read once per process until it changes. Raises ``OSError``."""
    found = path.stat()
    stamp = (found.st_mtime_ns, found.st_size)
    known = _KNOWN.get(str(path))
    if known is not None and known[:2] == stamp:
        return known[2]
    data = path.read_bytes()
    source = read_source(data) if path.suffix == ".py" else Source(hashlib.sha256(data).hexdigest(), ())
    _KNOWN[str(path)] = (*stamp, source)
    return source
