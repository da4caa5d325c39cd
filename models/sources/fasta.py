"""The format `fasta`: sequences of letters, as FASTA or FASTQ."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO, Literal

from mlratchet.models.sources.base import Example, ExampleFormat, SourceOptions
from mlratchet.models.sources.columns import RESERVED
from mlratchet.models.sources.csv import tables_among
from mlratchet.models.sources.names_once import twice_among
from mlratchet.models.sources.ranged import Open
from mlratchet.models.sources.record import RawObject, Reject
from mlratchet.models.sources.unpacking import UnreadableObjectError, bare_name, unpacked

FASTA = (".fasta", ".fa", ".fna", ".faa", ".ffn", ".fas")
FASTQ = (".fastq", ".fq")
MOST_LETTERS = 64 << 20  # of one sequence
LETTERS = re.compile(rb"[A-Za-z*.\-]+")
ATTRIBUTE = re.compile(r"(\S+?)=(\S+)")
OWN = frozenset({"id", "sequence", "description", "quality"})  # columns that no description says
Lines = Iterator[tuple[int, bytes]]


class FastaOptions(SourceOptions):
    """Sequences, also packed as .gz or .zst: columns `id`, `sequence`, `description`, of FASTQ `quality`, and one for
    every `name=value` in a description that has another name."""

    format: Literal["fasta"] = "fasta"
    label_column: str = "label"
    """The name of the label; in a description it stands as `label=value`."""
    label_from: Literal["description", "folder", "file"] = "description"
    """Where the label is: in the description, or the first folder below the prefix, or the name of the file."""


class Fasta(ExampleFormat):
    """Every file below the prefix, in key order; the id is the first word of a description."""

    name = "fasta"
    Options = FastaOptions
    alone = FASTA + FASTQ
    options: FastaOptions

    def examples(self, objects: list[RawObject], open_object: Open) -> Iterator[Example | Reject]:
        """A sequence each."""
        for item in (yield from tables_among(objects, FASTA + FASTQ, self.options.prefix)):
            read = _fastq if bare_name(item.key).endswith(FASTQ) else _fasta
            try:
                with unpacked(open_object(item), item) as stream:
                    for one in read(item.key, _lines(stream)):
                        yield one if isinstance(one, Reject) else self._example(item, *one)
            except UnreadableObjectError as error:
                yield error.reject()

    def _example(self, item: RawObject, line: int, head: bytes, sequence: bytes, quality: bytes) -> Example | Reject:
        where = f"{item.key}:{line}"
        refusal = _refusal(head, sequence, where)
        if refusal is not None:
            return refusal
        identity, _, description = head.decode().strip().partition(" ")
        told = [(name, value) for name, value in ATTRIBUTE.findall(description) if name not in OWN]
        strange = next((name for name, _ in told if name.startswith(RESERVED)), None)
        if strange is not None:
            return _bad(where, "bad_record", f"{strange!r}: names with {RESERVED} are Ratchet's own; rename it")
        # in brackets stand the words of a catalogue, which no field is named by
        twice = twice_among(name for name, _ in dict.fromkeys(told) if not name.startswith("["))
        if twice is not None:
            return _bad(
                where, "bad_record", f"{twice[:60]!r} is there twice in its description, with two values; leave one"
            )
        values = {"id": identity, "sequence": sequence.decode(), "description": description.strip(), **dict(told)}
        values |= {"quality": quality.decode()} if quality else {}
        label = values.get(self.options.label_column)
        if self.options.label_from == "folder":
            label = item.key.partition("/")[0] if "/" in item.key else None
        elif self.options.label_from == "file":
            label = PurePosixPath(item.key).name.partition(".")[0]
        if label is not None:
            values[self.options.label_column] = label
        return Example(where=where, values=values, label=label, id=identity)


def _refusal(head: bytes, sequence: bytes, where: str) -> Reject | None:
    if not head.strip():
        return _bad(where, "missing_id", "a description without a name, expected an id as its first word")
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return _bad(where, "bad_encoding", f"bad encoding: got byte 0x{head[error.start]:02x}, expected UTF-8")
    if b"\0" in head:
        return _bad(where, "nul_byte", "a NUL in its description")
    if not sequence:
        return _bad(where, "empty_sequence", "no letters; deliver the sequence or remove its description")
    if len(sequence) > MOST_LETTERS:
        return _bad(where, "cell_too_large", f"more than {MOST_LETTERS:,} letters; cut it")
    if LETTERS.fullmatch(sequence) is None:
        at = next(place for place, one in enumerate(sequence) if not LETTERS.fullmatch(bytes([one])))
        return _bad(where, "bad_letter", f"letter {at + 1} is byte 0x{sequence[at]:02x}, expected A to Z, *, - or .")
    return None


def _fasta(key: str, lines: Lines) -> Iterator[tuple[int, bytes, bytes, bytes] | Reject]:
    """(line, description, sequence, nothing)."""
    head: tuple[int, bytes] | None = None
    parts: list[bytes] = []
    size, told = 0, False
    for number, line in lines:
        if line.startswith(b">"):
            if head is not None:
                yield *head, b"".join(parts), b""
            head, parts, size = (number, line[1:].strip()), [], 0
        elif head is None and line.strip() and not line.startswith(b";"):
            if not told:
                yield _bad(
                    f"{key}:{number}", "no_description", "letters before the first description (>), expected FASTA"
                )
            told = True
        elif head is not None and size <= MOST_LETTERS:
            parts.append(b"".join(line.split()))
            size += len(parts[-1])
    if head is not None:
        yield *head, b"".join(parts), b""
    elif not told:
        yield _bad(key, "empty_file", "no sequence in it, expected descriptions that begin with >")


def _fastq(key: str, lines: Lines) -> Iterator[tuple[int, bytes, bytes, bytes] | Reject]:
    """(line, description, sequence, quality); a record is four lines."""
    seen = False
    for number, line in lines:
        if not line.strip():
            continue
        seen = True
        if not line.startswith(b"@"):
            yield _bad(f"{key}:{number}", "bad_record", "no FASTQ: expected a line that begins with @")
            return  # where the next record begins, nobody knows: @ is a quality, too
        rest = [next(lines, (0, b""))[1].strip() for _ in range(3)]
        sequence, plus, quality = rest
        if not plus.startswith(b"+") or len(sequence) != len(quality):
            words = f"{len(sequence)} letters and {len(quality)} qualities, expected as many on four lines: it was cut"
            yield _bad(f"{key}:{number}", "truncated_record", words)
            if not plus.startswith(b"+"):
                return
            continue
        if not quality.isascii() or not quality.decode("ascii").isprintable():
            yield _bad(f"{key}:{number}", "bad_letter", "qualities that are none, expected printable ASCII")
            continue
        yield number, line[1:].strip(), sequence, quality
    if not seen:
        yield _bad(key, "empty_file", "no sequence in it, expected records that begin with @")


def _lines(stream: BinaryIO) -> Lines:
    number = 0
    while line := stream.readline(MOST_LETTERS + 1024):
        number += 1
        yield number, line


def _bad(where: str, code: str, words: str) -> Reject:
    return Reject(where=where, code=code, reason=f"{where}: {words}")
