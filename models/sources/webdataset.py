"""The format `webdataset`: tar shards, in which the files of a sample share their name up to its first dot.

Nothing is extracted to the disk and nothing is unpickled. An archive that could write elsewhere (a name with `..`, a
link, a device) is refused as a whole.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, BinaryIO, Literal

from mlratchet.models.errors import DataError, SecurityError
from mlratchet.models.sources.base import Example, ExampleFormat, SourceOptions
from mlratchet.models.sources.csv import tables_among
from mlratchet.models.sources.names_once import names_once
from mlratchet.models.sources.ranged import Open
from mlratchet.models.sources.record import RawObject, Reject
from mlratchet.models.sources.sounds import SUFFIXES as SOUND_SUFFIXES
from mlratchet.models.sources.sounds import UnreadableSoundError, sound_facts
from mlratchet.models.sources.unpacking import UnreadableObjectError, most_unpacked, unpacked

SUFFIXES = (".tar", ".tgz")
PICTURES = frozenset({"png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff", "ppm", "pgm"})
SOUNDS = frozenset(suffix.removeprefix(".") for suffix in SOUND_SUFFIXES)
TEXTS = frozenset({"txt", "text", "caption", "transcript"})
LABELS = frozenset({"cls", "cls2", "class", "label", "id", "index"})
PICKLED = frozenset({"pyd", "pickle", "pkl", "pth", "pt", "joblib", "pckl"})
MOST_MEMBER_BYTES = 256 << 20
MOST_MEMBERS = 64  # of one sample
BLOCK = 512  # bytes of a tar


class WebDatasetOptions(SourceOptions):
    """Tar shards, also packed as .gz or .zst."""

    format: Literal["webdataset"] = "webdataset"
    label_column: str = "label"
    """Of the fields of a `.json`, the one that holds the label; a `.cls` holds nothing else."""


@dataclass
class _Sample:
    """What the members of one sample hold."""

    where: str
    values: dict[str, str] = field(default_factory=dict)
    media: dict[str, tuple[RawObject, bytes]] = field(default_factory=dict)  # `picture` or `sound`
    label: str | None = None


class WebDataset(ExampleFormat):
    """Every shard below the prefix, in key order; a sample's id is its name."""

    name = "webdataset"
    Options = WebDatasetOptions
    options: WebDatasetOptions

    def examples(self, objects: list[RawObject], open_object: Open) -> Iterator[Example | Reject]:
        """A sample each. Raises ``SecurityError`` for an archive that could write elsewhere."""
        for item in (yield from tables_among(objects, SUFFIXES, self.options.prefix)):
            with open_object(item) as source:
                marked = _has_end_mark(source, item)
                yield from self._samples(item, unpacked(source, item))
            if not marked:
                words = f"{item.key}: no end mark: it was cut behind its last file; deliver it whole"
                yield Reject(where=item.key, code="truncated_archive", reason=words)

    def _samples(self, item: RawObject, stream: BinaryIO) -> Iterator[Example | Reject]:
        members = _members(item, stream)
        for name, group in groupby(members, key=lambda one: "" if isinstance(one, Reject) else one[0]):
            found = list(group)
            refused = next((one for one in found if isinstance(one, Reject)), None)
            if refused is not None:
                yield refused
                continue
            where = f"{item.key}/{name}"
            from mlratchet.models.sources.decoding import UnreadableImageError

            try:
                yield self._sample(item, where, name, [one for one in found if not isinstance(one, Reject)])
            except (UnreadableImageError, UnreadableSoundError) as error:
                yield Reject(where=where, code=error.reason_code, reason=str(error))
            except UnreadableObjectError as error:
                yield error.reject()

    def _sample(self, item: RawObject, where: str, name: str, members: list[tuple[str, str, bytes]]) -> Example:
        sample = _Sample(where=where)
        if len(members) > MOST_MEMBERS:
            raise UnreadableObjectError("bad_sample", where, f"{len(members)} files, expected at most {MOST_MEMBERS}")
        kinds = [kind for _, kind, _ in members]
        twice = next((kind for kind in kinds if kinds.count(kind) > 1), None)
        if twice is not None:
            raise UnreadableObjectError("bad_sample", where, f"has two files .{twice}; rename one")
        for _, kind, data in members:
            _take(sample, item, name, kind, data)
        label = sample.label if sample.label is not None else sample.values.get(self.options.label_column)
        picture, sound = sample.media.get("picture"), sample.media.get("sound")
        if not sample.values and not sample.media and label is None:
            raise UnreadableObjectError("empty_row", where, "holds nothing that is read")
        values = sample.values if label is None else {**sample.values, self.options.label_column: label}
        chosen = picture or sound
        return Example(
            where=where,
            values=values,
            label=label,
            id=name,
            picture=picture[0] if picture else None,
            sound=sound[0] if sound else None,
            data=chosen[1] if chosen else None,
        )


def _take(sample: _Sample, item: RawObject, name: str, kind: str, data: bytes) -> None:
    """Add a member to its sample. Raises for one that cannot be used."""
    last = kind.rpartition(".")[2]
    key = f"{item.key}/{name}.{kind}"
    if last in PICKLED:
        words = f".{kind} holds a Python object, which can run code when it is read; write JSON, text or numbers"
        raise UnreadableObjectError("pickled_member", sample.where, words)
    if last in PICTURES or last in SOUNDS:
        medium = "picture" if last in PICTURES else "sound"
        if sample.media:
            raise UnreadableObjectError("bad_sample", sample.where, "has two pictures or sounds; write one a sample")
        if medium == "picture":
            from mlratchet.models.sources.decoding import check_picture

            check_picture(data, key)
        else:
            sound_facts(data, key)
        digest = hashlib.sha256(data).hexdigest()
        sample.media[medium] = (RawObject(key=key, size_bytes=len(data), sha256=digest), data)
    elif last in LABELS:
        text = _text(sample, kind, data)
        if last == "cls":
            sample.label = text
        else:
            _put(sample, kind, text)
    elif last in TEXTS:
        _put(sample, "text" if kind == "txt" else kind, _text(sample, kind, data))
    elif last == "json":
        for name, value in _fields(sample, kind, data).items():
            _put(sample, name, value)
    else:
        raise UnreadableObjectError("unknown_member", sample.where, f".{kind} is none of the kinds that are read")


def _put(sample: _Sample, name: str, value: str) -> None:
    """What a member says of the sample. Raises where another one says something else."""
    if sample.values.setdefault(name, value) != value:
        words = f"two of its files say {name!r}: {sample.values[name][:60]!r} and {value[:60]!r}; leave one"
        raise UnreadableObjectError("contradiction", sample.where, words)


def _text(sample: _Sample, kind: str, data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        words = f".{kind}: bad encoding: got byte 0x{data[error.start]:02x}, expected UTF-8"
        raise UnreadableObjectError("bad_encoding", sample.where, words) from error
    if "\0" in text:
        raise UnreadableObjectError("nul_byte", sample.where, f".{kind} holds a NUL")
    return text


def _fields(sample: _Sample, kind: str, data: bytes) -> dict[str, str]:
    try:
        found = json.loads(_text(sample, kind, data), object_pairs_hook=names_once)
    except (ValueError, RecursionError) as error:
        words = f".{kind}: {' '.join(str(error).split())[:200]}, expected a JSON object"
        raise UnreadableObjectError("bad_json", sample.where, words) from error
    if not isinstance(found, dict):
        raise UnreadableObjectError(
            "bad_json", sample.where, f".{kind}: got {type(found).__name__}, expected an object"
        )
    return {name: _cell(value) for name, value in found.items() if not name.startswith("@")}


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _members(item: RawObject, stream: BinaryIO) -> Iterator[tuple[str, str, bytes] | Reject]:
    """(sample, kind, bytes) of every regular file, in order; last, why it cannot be read on."""
    last = item.key
    try:
        with tarfile.open(fileobj=stream, mode="r|") as opened:
            held = 0
            for member in opened:
                held += 1
                _refuse_unsafe(item, member)
                _refuse_endless(item, member)
                if not member.isreg():
                    continue
                last = f"{item.key}/{member.name}"
                if member.size > MOST_MEMBER_BYTES:
                    words = (
                        f"{last}: {member.size:,} bytes, expected at most {MOST_MEMBER_BYTES:,}; cut it into several"
                    )
                    yield Reject(where=last, code="cell_too_large", reason=words)
                    continue
                source = opened.extractfile(member)
                data = source.read() if source is not None else b""
                if len(data) != member.size:
                    raise tarfile.ReadError("unexpected end of data")
                folder, _, base = member.name.removeprefix("./").rpartition("/")
                stem, _, kind = base.partition(".")
                yield (f"{folder}/{stem}" if folder else stem, kind.lower(), data)
            _refuse_more(opened.fileobj)
            if not held:
                yield Reject(where=item.key, code="empty_file", reason=f"{item.key}: an archive without a file")
    except UnreadableObjectError as error:
        yield error.reject()
    except (SecurityError, TimeoutError, ConnectionError, MemoryError):  # no fault of the archive
        raise
    except Exception as error:  # noqa: BLE001 - tarfile meets its own limits, too: a header about a header about one
        words = (
            f"{item.key}: no tar from here on ({' '.join(str(error).split())[:200]}), after {last}; deliver it again"
        )
        yield Reject(where=item.key, code="bad_archive", reason=words)


def _refuse_more(stream: Any) -> None:
    """Raises ``ReadError`` where something stands behind the mark of the end: nobody would read it."""
    while chunk := stream.read(1 << 20):
        if chunk.strip(b"\0"):
            raise tarfile.ReadError("something stands behind its end: two archives in one file")


def _refuse_endless(item: RawObject, member: tarfile.TarInfo) -> None:
    """Raises ``ReadError`` where tarfile would skip bytes, block by block, far behind the end. It skips those of a kind
    that it does not know, too."""
    skipped = member.isreg() or member.type not in tarfile.SUPPORTED_TYPES
    if skipped and not 0 <= member.size <= most_unpacked(item):
        raise tarfile.ReadError(f"{member.name[:200]!r} says that it has {member.size:,} bytes")


def _refuse_unsafe(item: RawObject, member: tarfile.TarInfo) -> None:
    parts = member.name.split("/")
    if member.name.startswith("/") or ".." in parts or "\\" in member.name or "\0" in member.name:
        raise SecurityError(
            f"{item.key}: holds a file named {member.name[:200]!r}, which could leave its place; remove it"
        )
    if member.issym() or member.islnk() or member.isdev():
        kind = "a link" if member.issym() or member.islnk() else "a device"
        raise SecurityError(
            f"{item.key}: {member.name[:200]!r} is {kind}; an archive may hold files alone: write it anew"
        )
    if member.issparse():
        raise SecurityError(f"{item.key}: {member.name[:200]!r} is sparse: it says more than it holds; write it anew")


def _has_end_mark(source: BinaryIO, item: RawObject) -> bool:
    """Whether it ends as a tar does; one that is packed says by itself whether it is whole."""
    if not item.key.lower().endswith(".tar"):
        return True
    with suppress(ValueError, OSError):
        source.seek(max(0, item.size_bytes - 2 * BLOCK))
        end = source.read(2 * BLOCK)
        source.seek(0)
        return len(end) == 2 * BLOCK and not any(end)
    raise DataError(f"{item.key}: cannot be read; deliver it again")
