"""A scoring: which rows, by which bytes, to which place. By its identity a run goes on with an earlier one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlratchet.models.identity.canonical import digest
from mlratchet.models.ports.storage import ObjectInfo
from mlratchet.models.sources.formats import format_of

FORM = 2  # of the pieces: another one is another scoring
EARLIER = (1,)  # forms of earlier releases, whose finished batches stand
UNIT_BYTES = 64 << 20  # of objects that one child reads together; a larger object is read alone
UNIT_OBJECTS = 4096
ALONE = ("csv", "parquet", "jsonl", "fasta", "ratings", "webdataset")
"""Formats that read each object by itself, so that a file nobody can read is set aside alone."""
FILES = ("image_folder", "audio_folder", "images", "audio")  # formats whose objects are pictures or sounds
SCORES, ASIDE, MANIFEST, JOB = "scores/", "set-aside/", "manifest.json", "job.json"  # below the target


@dataclass(frozen=True, kw_only=True)
class RowFormat:
    """How the rows are read: as the version's pipeline reads its deliveries, without label, selection and rules."""

    format: str
    options: Mapping[str, Any]  # what stands under `source`
    number_marks: Mapping[str, str] = field(default_factory=dict)  # as the version's dataset was read
    time_formats: Mapping[str, str] = field(default_factory=dict)

    @property
    def labels(self) -> str | None:
        """Key of the table that names pictures or sounds, where the format has one."""
        named = format_of(self.format).Options.model_fields.get("labels")
        return None if named is None else str(self.options.get("labels") or named.default)

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "format": self.format, "options": dict(self.options), "number_marks": dict(self.number_marks),
            "time_formats": dict(self.time_formats),
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ScoringJob:
    """What is asked."""

    pipeline: str
    version: int
    manifest: str  # digest of the artifact's manifest
    source: str  # s3://bucket/prefix/
    target: str
    objects: tuple[ObjectInfo, ...]  # of the source, in key order; keys are below its prefix
    reading: RowFormat

    def document(self, form: int | None = None) -> dict[str, Any]:
        """What decides the scores, as JSON values; `form`: as an earlier release wrote its pieces."""
        return {
            "form": form or FORM, "pipeline": self.pipeline, "version": self.version, "manifest": self.manifest,
            "source": self.source, "target": self.target, "reading": self.reading.document(),
            "objects": [[one.key, one.size_bytes, one.etag] for one in self.objects],
        }  # fmt: skip

    @property
    def id(self) -> str:
        """SHA-256 hex."""
        return digest(self.document())

    def earlier_ids(self) -> list[str]:
        """Of the same scoring by earlier releases."""
        return [digest(self.document(form)) for form in EARLIER]

    def units(self) -> list[tuple[ObjectInfo, ...]]:
        """Objects that are read together, in key order: each unit by one child."""
        beside = self.reading.format in FILES and any(one.key == self.reading.labels for one in self.objects)
        if beside or self.reading.format not in (*ALONE, *FILES):
            return [self.objects] if self.objects else []  # they say something of one another
        return list(_grouped(self.objects))


def _grouped(objects: Sequence[ObjectInfo]) -> Iterator[tuple[ObjectInfo, ...]]:
    held: list[ObjectInfo] = []
    size = 0
    for one in objects:
        if held and (size + one.size_bytes > UNIT_BYTES or len(held) >= UNIT_OBJECTS):
            yield tuple(held)
            held, size = [], 0
        held.append(one)
        size += one.size_bytes
    if held:
        yield tuple(held)


def piece_name(unit: int, piece: int) -> str:
    """Of a piece: what begins the names of its files."""
    return f"part-{unit:06d}-{piece:06d}"


def piece_key(job: str, unit: int, piece: int) -> str:
    """Name of the signed record of a finished piece."""
    return f"scores/{job}/{piece_name(unit, piece)}.json"


def unit_key(job: str, unit: int) -> str:
    """Name of the signed record of a unit that was read to its end."""
    return f"scores/{job}/unit-{unit:06d}.json"


def manifest_key(job: str) -> str:
    """Name of the signed record of a scoring that is finished."""
    return f"scores/{job}/manifest.json"
