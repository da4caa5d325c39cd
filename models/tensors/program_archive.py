"""What a `.pt2` archive may hold: nothing that `torch.export.load` would unpickle, evaluate or open as a library.

torch reads such an archive without looking: weights and constants that the archive says are pickled are unpickled,
sample inputs are when they are no plain tensors, a compiled model is loaded as a library, and sizes and guards are
evaluated as Python. Names and texts go unescaped into the Python and C++ that torch generates. Here an archive is
refused unless every record of it is one that we know by name and that holds what it may.
"""

from __future__ import annotations

import ast
import io
import json
import pickletools
import re
import threading
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from mlratchet.models.errors import SecurityError
from mlratchet.models.tensors.expression_size import is_small
from mlratchet.models.tensors.program_calls import problem_of_call
from mlratchet.models.tensors.program_writes import overwritten
from mlratchet.models.tensors.zeroed import zeroed

ROOT = re.compile(r"[A-Za-z0-9_-]{1,64}")
TEXT = re.compile(rb"[A-Za-z0-9._-]{1,64}\n?")  # can be no program of the pickle machine
TEXTS = ("archive_format", "archive_version", "byteorder", ".data/version", ".data/serialization_id")
PROGRAM_JSON = "models/model.json"
SAMPLES = "data/sample_inputs/model.pt"
PAYLOADS = {"data/weights": "weight_", "data/constants": "tensor_"}  # folder -> how its raw tensors are called
RAW = re.compile(r"(data/weights/weight_|data/constants/tensor_)[0-9]{1,6}")
# Of a tensor as `torch.save` writes it: the only names that its pickle may look up, and where its bytes stand
GLOBALS = re.compile(r"(torch [A-Z][A-Za-z0-9]{2,24}Storage|torch\._utils _rebuild_tensor_v2|collections OrderedDict)")
MEMBER = re.compile(
    r"[a-z_]{1,32}/(data\.pkl|\.format_version|\.storage_alignment|byteorder|version|\.data/serialization_id|"
    r"data/[0-9]{1,6})"
)
# What an expression over sizes is made of, as sympy writes it, and a guard over them, as torch does
NODES = (
    ast.Expression, ast.Name, ast.Constant, ast.Call, ast.keyword, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare,
    ast.Subscript, ast.Attribute, ast.Load, ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.Tuple,
)  # fmt: skip
_WORDS = """
Symbol Dummy Integer Rational Float Add Mul Pow Max Min Mod Abs Eq Ne Lt Le Gt Ge And Or Not floor ceiling
Equality Unequality StrictLessThan LessThan StrictGreaterThan GreaterThan max min abs int float
FloorDiv ModularIndexing Where PythonMod CleanDiv CeilToInt FloorToInt CeilDiv IntTrueDiv FloatTrueDiv ToFloat
TruncToInt TruncToFloat RoundToInt RoundDecimal PowByNatural FloatPow Identity LShift RShift
"""
FUNCTIONS = frozenset(_WORDS.split())
METHODS = frozenset(("size", "stride", "storage_offset", "dim"))
SYMBOL = re.compile(r"[a-z]{1,8}[0-9]{0,8}")
# Of a tensor, a parameter, a module, an operator: what cannot end the quotes or the line that torch writes it into
PLAIN_NAME = re.compile(r"([A-Za-z0-9_]{1,100}([.][A-Za-z0-9_]{1,100}){0,60}(@[0-9]{1,6})?)?")
PLAIN_TEXT = re.compile(r"[^\"\\\x00-\x1f\x7f\x85\u2028\u2029]{0,2000}")
TRACE = re.compile(r"[^\x00-\x08\x0b-\x1f\x7f\x85\u2028\u2029]*")  # goes into no code but comments, line by line
TRACE_LINE = re.compile(r"[^\x00-\x1f\x7f\x85\u2028\u2029]*")
METADATA = frozenset(("stack_trace", "nn_module_stack", "torch_fn"))  # of a node
TREES = (None, "builtins.tuple", "builtins.list", "builtins.dict")  # what inputs and outputs are made of
NAMED = re.compile(r"(.*names?|target|as_operator|.*fqn)")  # a key whose text is a name
# Of a symbol or an input, or a fraction, as a text
NAME = re.compile(r"(?!.*__)[A-Za-z_][A-Za-z0-9_]{0,100}|-?[0-9]{1,40}([.][0-9]{1,60})?(e[+-]?[0-9]{1,3})?")

_one_at_a_time = threading.Lock()  # torch keeps what it is reading in a global, and refuses a second one


def refuse_other_than_tensors(archive: Path) -> None:
    """Raises ``SecurityError`` naming the first record of the archive that could be more than tensors and a graph."""
    try:
        with archive.open("rb") as opened:
            _check(archive.name, opened)
    except OSError as error:
        raise SecurityError(f"{archive.name}: cannot be read as an archive: {error}"[:300]) from error


def read_program(archive: Path) -> torch.export.ExportedProgram:
    """The program of an archive, as it is asked, compiled and converted. Raises ``SecurityError`` as
    `refuse_other_than_tensors`, and for a program that writes to its own tensors; whoever asks has forbidden pickle."""
    refuse_other_than_tensors(archive)
    program = _loaded(archive)
    for name, node in overwritten(program):
        raise SecurityError(
            f"{archive.name}: writes to its own {name[:100]!r} ({node.target}) when it is asked, so that an answer "
            "would hold what others asked before; it is not served; train anew with a model that keeps nothing in eval"
        )
    return program


def as_stored(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """The program as it is after it was stored: written, checked, and read. Raises ``SecurityError`` for one that would
    be refused, and what torch raises for one that it cannot write."""
    held = io.BytesIO()
    torch.export.save(program, held)
    _check("the exported program", held)
    held.seek(0)
    return _loaded(held)


def _loaded(archive: Path | io.BytesIO) -> torch.export.ExportedProgram:
    with _one_at_a_time:
        return zeroed(torch.export.load(archive))


def is_plain_name(name: str) -> bool:
    """Whether a program may hold a tensor, or a part of its model, by this name."""
    return PLAIN_NAME.fullmatch(name) is not None


def _check(name: str, archive: BinaryIO) -> None:
    try:
        with zipfile.ZipFile(archive) as opened:
            _Archive(name, opened).check(archive.seek(0, io.SEEK_END))
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, OSError) as error:
        raise SecurityError(f"{name}: cannot be read as an archive: {error}"[:300]) from error


class _Archive:
    """One archive, and what it is called."""

    def __init__(self, name: str, opened: zipfile.ZipFile) -> None:
        self._name, self._opened = name, opened
        self._infos = {info.filename: info for info in opened.infolist()}
        self._root = next(iter(self._infos), "").partition("/")[0]

    def check(self, size_bytes: int) -> None:
        """Raises ``SecurityError``."""
        self._check_container(size_bytes)
        raw: set[str] = set()
        for folder, prefix in PAYLOADS.items():
            raw |= self._raw_tensors(folder, prefix)
        for name in self._infos:
            record = name.removeprefix(f"{self._root}/")
            if record in TEXTS:
                if not TEXT.fullmatch(self._bytes(record)):
                    raise self._wrong(record, "holds other than one word")
            elif record == PROGRAM_JSON:
                self._check_program(record)
            elif record == SAMPLES:
                self._check_samples(record)
            elif record not in raw and record not in map(_list_of, PAYLOADS):
                raise self._wrong(record, "is no part of an exported program")

    def _check_container(self, size_bytes: int) -> None:
        """One reading of it alone: other readers of archives find no other records in it."""
        infos = self._opened.infolist()
        if len(infos) != len(self._infos) or not ROOT.fullmatch(self._root) or self._opened.comment:
            raise SecurityError(f"{self._name}: is no archive as torch writes it; nothing of it is loaded")
        if min(info.header_offset for info in infos) != 0:
            raise SecurityError(f"{self._name}: something stands before its first record; nothing of it is loaded")
        for info in infos:
            stored = info.compress_type == zipfile.ZIP_STORED and info.file_size == info.compress_size <= size_bytes
            if not info.filename.startswith(f"{self._root}/") or not stored or info.flag_bits & 1:
                raise self._wrong(info.filename, "is not stored as torch stores it")

    def _raw_tensors(self, folder: str, prefix: str) -> set[str]:
        """The records of a folder that are read as bare numbers, which the folder's own list says."""
        record = _list_of(folder)
        if f"{self._root}/{record}" not in self._infos:
            raise self._wrong(record, "is missing")
        listed = self._json(record)
        entries = listed.get("config") if isinstance(listed, dict) else None
        if not isinstance(entries, dict) or set(listed) != {"config"}:
            raise self._wrong(record, "is no list of tensors")
        found = set()
        for name, entry in entries.items():
            if not PLAIN_NAME.fullmatch(name):
                raise self._wrong(record, f"names a tensor {name[:60]!r}, which is no plain name")
            path = entry.get("path_name") if isinstance(entry, dict) else None
            plain = isinstance(path, str) and path.startswith(prefix) and RAW.fullmatch(f"{folder}/{path}")
            if not plain or entry.get("use_pickle") is not False:
                raise self._wrong(record, f"names {str(path)[:60]!r}, which is no bare tensor")
            found.add(f"{folder}/{path}")
        return found

    def _check_program(self, record: str) -> None:
        program = self._json(record)
        if not isinstance(program, dict) or program.get("verifiers") != ["TRAINING"]:
            raise self._wrong(record, "is no program as torch.export writes it")
        for node in calls_in(program):
            target = node.get("target")
            why = problem_of_call(target) if isinstance(target, str) else "is no name"
            if why:
                named = str(node.get("name") or "")[:100]
                raise self._wrong(record, f"calls {str(target)[:100]!r} (node {named!r}), which {why}")
        for key, held in entries_in(program):
            if not is_plain_entry(key, held):
                raise self._wrong(record, f"says {key} {str(held)[:60]!r}, which torch would look up")
        for text in unplain_in(program):
            raise self._wrong(record, f"holds {text[:60]!r} where torch writes a plain name")
        for text in code_in(program):
            if not is_harmless(text):
                raise self._wrong(record, f"holds an expression that is none over sizes: {text[:60]!r}")

    def _check_samples(self, record: str) -> None:
        data = self._bytes(record)
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as saved:
                names = saved.namelist()
                pickles = [name for name in names if name.endswith("/data.pkl")]
                known = len(set(names)) == len(names) and all(MEMBER.fullmatch(name) for name in names)
                if not known or len(pickles) != 1 or saved.getinfo(pickles[0]).file_size > len(data):
                    raise self._wrong(record, "holds other than tensors")
                _refuse_lookups(saved.read(pickles[0]))
            torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        except SecurityError:
            raise
        except Exception as error:  # whatever a reader raises at bytes that anybody may have written
            raise self._wrong(record, f"holds other than tensors ({type(error).__name__})") from error

    def _bytes(self, record: str) -> bytes:
        return self._opened.read(f"{self._root}/{record}")

    def _json(self, record: str) -> Any:
        try:
            return json.loads(self._bytes(record).decode())
        except (ValueError, RecursionError) as error:
            raise self._wrong(record, "is not JSON") from error

    def _wrong(self, record: str, words: str) -> SecurityError:
        return SecurityError(f"{self._name}: record {record[:100]!r} {words}; nothing of it is loaded")


def _list_of(folder: str) -> str:
    return f"{folder}/model_{folder.rpartition('/')[2]}_config.json"


def _refuse_lookups(pickled: bytes) -> None:
    """Raises ``ValueError`` for a pickle that would look up any name but those of a plain tensor."""
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name in ("STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BUILD", "EXT1", "EXT2", "EXT4"):
            raise ValueError(f"opcode {opcode.name}")
        if opcode.name == "GLOBAL" and not GLOBALS.fullmatch(str(argument)):
            raise ValueError(f"looks up {argument}")


def entries_in(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key of a program's JSON with what it holds."""
    if isinstance(value, Mapping):
        for key, held in value.items():
            yield key, held
            yield from entries_in(held)
    elif isinstance(value, list):
        for held in value:
            yield from entries_in(held)


def calls_in(program: Any) -> Iterator[Mapping[str, Any]]:
    """Every node of every graph of a program's JSON; an empty one for what is no node."""
    for key, held in entries_in(program):
        if key == "nodes" and held:
            nodes = held if isinstance(held, list) else [held]
            yield from (node if isinstance(node, Mapping) and "target" in node else {} for node in nodes)


def is_plain_entry(key: str, held: Any) -> bool:
    """Whether torch looks nothing up by what stands under this key: no operator that is an argument, no module of a
    node's origin, no class of a description of inputs and outputs."""
    if key in ("as_operator", "treespec_namedtuple_fields"):
        return not held
    if key == "metadata":
        return isinstance(held, Mapping) and set(held) <= METADATA
    return key not in ("in_spec", "out_spec") or is_plain_tree(held)


def is_plain_tree(text: Any) -> bool:
    """Whether a description of inputs or outputs is made of tuples, lists, and mappings by plain names alone."""
    try:
        version, spec = json.loads(text)
        return version == 1 and _is_plain_spec(spec)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


def _is_plain_spec(spec: Any) -> bool:
    context = spec["context"] if spec["context"] is None else json.loads(spec["context"])
    plain = context is None or (
        isinstance(context, list) and all(isinstance(name, str) and PLAIN_NAME.fullmatch(name) for name in context)
    )
    return spec["type"] in TREES and plain and all(map(_is_plain_spec, spec["children_spec"]))


def code_in(value: Any) -> Iterator[str]:
    """Whatever a program's JSON says that torch evaluates: sizes (`expr_str`) and guards (`guards_code`)."""
    if isinstance(value, Mapping):
        for name, held in value.items():
            if name == "expr_str":
                yield str(held)
            elif name == "guards_code":
                yield from map(str, held if isinstance(held, list) else [held])
            else:
                yield from code_in(held)
    elif isinstance(value, list):
        for held in value:
            yield from code_in(held)


def unplain_in(value: Any, key: str = "") -> Iterator[str]:
    """Whatever a program's JSON calls something, under any key, that could be more than a name where torch writes it
    into code: names, arguments that are texts, and what a node says of where it comes from."""
    if isinstance(value, Mapping):
        yield from (name for name in value if not PLAIN_NAME.fullmatch(name))
        for name, held in value.items():
            yield from unplain_in(held, name)
    elif isinstance(value, list):
        for held in value:
            yield from unplain_in(held, key)
    elif isinstance(value, str) and not _pattern_of(key).fullmatch(value):
        yield value


def _pattern_of(key: str) -> re.Pattern[str]:
    if NAMED.fullmatch(key):
        return PLAIN_NAME
    if key in ("as_string", "as_strings", "torch_fn", "source_fn_stack", "nn_module_stack"):
        return PLAIN_TEXT if key.startswith("as_") else TRACE_LINE
    return TRACE


def is_harmless(text: str) -> bool:
    """Whether it is an expression over sizes and numbers, which calls nothing but what they are made of, and soon has a
    value."""
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return len(text) < 20_000 and all(_is_harmless(node) for node in ast.walk(tree)) and is_small(tree)


def _is_harmless(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        named = isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS
        return named or (isinstance(node.func, ast.Attribute) and not node.keywords)
    if isinstance(node, ast.Attribute):
        return node.attr in METHODS
    if isinstance(node, ast.Name):
        return node.id == "L" or node.id in FUNCTIONS or node.id == "int_oo" or bool(SYMBOL.fullmatch(node.id))
    if isinstance(node, ast.Constant):
        text_or_number = not isinstance(node.value, str) or bool(NAME.fullmatch(node.value))
        return text_or_number and not isinstance(node.value, bytes)
    return isinstance(node, NODES)
