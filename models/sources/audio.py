"""The formats `audio_folder` (the folder of a sound is its class) and `audio` (a table names each sound)."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

from mlratchet.models.errors import DataError
from mlratchet.models.ports.reading import side_by_side
from mlratchet.models.sources.base import Example, Fetch, Format, SourceOptions
from mlratchet.models.sources.beside_table import beside_table
from mlratchet.models.sources.columns import TableOptions
from mlratchet.models.sources.pieces import SOUND, RawPiece, examples_as_tables, read_whole
from mlratchet.models.sources.ranged import Open
from mlratchet.models.sources.record import RawObject, Reject
from mlratchet.models.sources.sounds import MOST_SECONDS, SUFFIXES, UnreadableSoundError, sound_facts
from pydantic import Field

FACTS = ("seconds", "rate_hz", "channels")  # columns of every sound


class SoundOptions(SourceOptions):
    """Of sounds, however they are named."""

    max_seconds: float = Field(default=MOST_SECONDS, gt=0)
    """A longer sound is set aside before it fills the memory."""


class AudioFolderOptions(SoundOptions):
    """The first folder below the prefix is the class."""

    format: Literal["audio_folder"] = "audio_folder"


class AudioOptions(TableOptions, SoundOptions):
    """A table beside the sounds."""

    format: Literal["audio"] = "audio"
    labels: str = "labels.csv"
    """Key below the prefix of the table that names each sound and what is known of it."""
    file_column: str = "file"
    """The column that holds the sound's key below the prefix."""


class AudioFolder(Format):
    """Every WAV, FLAC or OGG below a folder, in key order; its id is its key."""

    name = "audio_folder"
    Options = AudioFolderOptions
    options: AudioFolderOptions

    def read(self, objects: list[RawObject], fetch: Fetch, *, columns: Sequence[str]) -> Iterator[Example | Reject]:
        """An example per sound that can be decoded, with its length, rate and channels."""
        for one in self._named(objects, columns):
            yield one if isinstance(one, Reject) else _with_facts(one, fetch, self.options.max_seconds)

    def _named(self, objects: list[RawObject], columns: Sequence[str]) -> Iterator[Example | Reject]:
        unknown = [name for name in columns if name not in FACTS]
        if unknown:
            raise DataError(
                f"{self.options.prefix}: audio_folder has no column {unknown[0]!r}, only {', '.join(FACTS)}"
            )
        if not any("/" in item.key for item in objects):
            raise DataError(f"{self.options.prefix}: no folder; expected objects named class/file")
        for item in sorted(objects, key=lambda o: o.key):
            folder, _, rest = unicodedata.normalize("NFC", item.key).partition("/")
            if not rest:
                words = f"{item.key}: lies in no folder, expected class/file"
                yield Reject(where=item.key, code="no_class", reason=words)
            elif not item.key.lower().endswith(SUFFIXES):
                yield _not_a_sound(item)
            else:
                yield Example(where=item.key, values={"label": folder}, label=folder, id=item.key, sound=item)

    def tables(
        self, objects: list[RawObject], open_object: Open, columns: Sequence[str] | None = None
    ) -> Iterator[RawPiece | Reject]:
        """The bytes of each sound (`sound`), with `@label` and `@id`, and its length, rate and channels."""
        asked = [name for name in columns or () if name not in (SOUND, "label")]
        yield from _as_tables(self._named(objects, asked), open_object, self.options.max_seconds)


class Audio(Format):
    """A sound per row of the table, in its order."""

    name = "audio"
    Options = AudioOptions
    options: AudioOptions

    def read(self, objects: list[RawObject], fetch: Fetch, *, columns: Sequence[str]) -> Iterator[Example | Reject]:
        """An example per row whose sound can be decoded; what has no partner is set aside."""
        for one in beside_table(objects, fetch, self.options, columns, kind=SOUND):
            yield one if isinstance(one, Reject) else _with_facts(one, fetch, self.options.max_seconds)

    def tables(
        self, objects: list[RawObject], open_object: Open, columns: Sequence[str] | None = None
    ) -> Iterator[RawPiece | Reject]:
        """The columns of the table, and the bytes of each sound (`sound`)."""

        def fetch(item: RawObject) -> bytes:
            return read_whole(item, open_object)

        asked = [name for name in columns or () if name not in (SOUND, *FACTS)]
        named = beside_table(objects, fetch, self.options, asked, kind=SOUND)
        yield from _as_tables(named, open_object, self.options.max_seconds)


def _as_tables(
    named: Iterator[Example | Reject], open_object: Open, most_seconds: float
) -> Iterator[RawPiece | Reject]:
    def decoded(one: Example | Reject) -> Example | Reject:
        if isinstance(one, Reject) or one.sound is None:
            return one
        data = read_whole(one.sound, open_object)
        return _with_facts(one, lambda _item: data, most_seconds, keep=True)

    yield from examples_as_tables(side_by_side(decoded, named), open_object)


def _with_facts(one: Example, fetch: Fetch, most_seconds: float, *, keep: bool = False) -> Example | Reject:
    if one.sound is None:
        return one
    data = fetch(one.sound)
    try:
        facts = sound_facts(data, one.sound.key, most_seconds=most_seconds)
    except UnreadableSoundError as error:
        return Reject(where=one.where, code=error.reason_code, reason=str(error))
    told = {"seconds": f"{facts.seconds:.6f}", "rate_hz": str(facts.rate_hz), "channels": str(facts.channels)}
    values = {**told, **one.values}
    return replace(one, values=values, data=data if keep else None)


def _not_a_sound(item: RawObject) -> Reject:
    words = f"{item.key}: expected one of {', '.join(SUFFIXES)}"
    return Reject(where=item.key, code="not_a_sound", reason=words)
