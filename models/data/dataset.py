"""The dataset manifest: which shards, how many rows, from which snapshot by which transform."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlratchet.models.config import StrictModel, WorkloadRef
from mlratchet.models.data.config import DataConfig
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import digest
from mlratchet.models.identity.signed_records import body_of
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.schema.numbers import Mark
from mlratchet.models.schema.time_formats import ISO
from mlratchet.models.sources.base import SourceOptions
from pydantic import Field

FOUND_OUT = ("decimal", "delimiter", "quotes", "encoding", "select")  # options that count where they are declared


class ShardRef(StrictModel):
    """One shard: `shards/<sha256>.safetensors`."""

    sha256: str
    rows: int

    @property
    def key(self) -> str:
        """Where it is."""
        return f"shards/{self.sha256}.safetensors"


class DatasetManifest(StrictModel):
    """Published last, by conditional create."""

    id: str
    snapshot_id: str
    splits: dict[str, tuple[ShardRef, ...]]
    rows: dict[str, int]
    """Rows per side."""
    logged_rows: dict[str, int] = Field(default_factory=dict, exclude_if=lambda value: not value)
    """Of those that the inference log gave, per side; empty where it gave none."""
    target_counts: dict[str, int]
    """Rows per class or label; empty for regression and ranking."""
    index_sha256: str
    """`indexes/<sha256>.json` (`row_index.py`): what is known of each record, to find it in another delivery."""
    identity_columns: tuple[str, ...] = Field(default=(), strict=False)
    """Columns whose raw cells say who a row is; empty: rows have ids of their own, or are of before it was so."""
    number_marks: dict[str, Mark] = Field(default_factory=dict)
    """Decimal mark by column, as decided at the pipeline's first delivery."""
    time_formats: dict[str, str] = Field(default_factory=dict, exclude_if=lambda value: not value)
    """Format of times by column, likewise."""
    examples: dict[str, tuple[ShardRef, ...]] = Field(default_factory=dict, exclude_if=lambda value: not value)
    """Of a pipeline with a schema: the rows of each side as clients would send them, in the order of `splits`."""
    preparation_sha256: str = Field(default="", exclude_if=lambda value: not value)
    """`preparations/<sha256>.safetensors`: what the preparation was fitted to."""

    @property
    def raw(self) -> DatasetManifest:
        """The same rows as they are before a preparation."""
        return self.model_copy(update={"splits": self.examples})


def preparation_key(sha256: str) -> str:
    """Where a fitted preparation is."""
    return f"preparations/{sha256}.safetensors"


def dataset_parts(
    snapshot_id: str,
    code: Any,
    workload: WorkloadRef,
    data: DataConfig,
    source: SourceOptions,
    *,
    identity_columns: tuple[str, ...] = (),
    number_marks: Mapping[str, Mark] | None = None,
    time_formats: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Everything that decides the rows and their sides, as JSON values; the dataset's id is their digest.

    `code` names the code of the workload, and Ratchet's as far as it makes datasets, as JSON values (`DATA.code` of
    `models/identity/product.py`). `identity_columns` say who a row without an id of its own is, `number_marks` how
    numbers are written: the comma as decimal mark counts; of `time_formats` those that are not ISO's.
    """
    commas = sorted(name for name, mark in (number_marks or {}).items() if mark == ",")
    written: dict[str, Any] = {"decimal_commas": commas} if commas else {}
    forms = {name: form for name, form in (time_formats or {}).items() if form not in ("", ISO)}
    written |= {"time_formats": forms} if forms else {}
    named_by = (
        {"identity_columns": list(identity_columns)} if identity_columns and source.column_of("id") is None else {}
    )
    # how often a row counts in the loss is no part of the row: it is in the work key
    apart = {"bucket": True, "prefix": True, "snapshot": True, "inference_log": {"weight"}}
    options = source.model_dump(mode="json", exclude=apart)  # type: ignore[arg-type]  # pydantic takes it nested
    return (
        named_by
        | written
        | {
            "snapshot": snapshot_id,
            "code": code,
            "workload": workload.model_dump(mode="json"),
            "data": data.model_dump(mode="json"),
            "source": {name: value for name, value in options.items() if value is not None or name not in FOUND_OUT},
        }
    )


def dataset_id(
    snapshot_id: str,
    code: Any,
    workload: WorkloadRef,
    data: DataConfig,
    source: SourceOptions,
    *,
    identity_columns: tuple[str, ...] = (),
    number_marks: Mapping[str, Mark] | None = None,
    time_formats: Mapping[str, str] | None = None,
) -> str:
    """SHA-256 hex of `dataset_parts`."""
    parts = dataset_parts(
        snapshot_id,
        code,
        workload,
        data,
        source,
        identity_columns=identity_columns,
        number_marks=number_marks,
        time_formats=time_formats,
    )
    return digest(parts)


def load_dataset(store: ObjectStore, identity: str) -> DatasetManifest:
    """A published manifest. Raises ``ObjectNotFound``, and ``SecurityError`` for one that is none, or another's."""
    key = f"datasets/{identity}.json"
    try:
        manifest = DatasetManifest.model_validate_json(body_of(store.get(key)))
    except (ValueError, RecursionError) as error:
        raise SecurityError(f"{store.bucket}/{key}: is not a dataset; it was changed") from error
    if manifest.id != identity:
        raise SecurityError(f"{store.bucket}/{key}: is dataset {manifest.id[:12]}; it was changed")
    return manifest


SIDES = ("train", "validation")


def refuse_gate_rows(manifest: DatasetManifest) -> None:
    """Raises ``SecurityError`` when a trial was given rows that a gate judges on."""
    foreign = sorted(set(manifest.splits) - set(SIDES))
    if foreign:
        raise SecurityError(
            f"a trial of a search was given dataset {manifest.id[:12]} with the side {', '.join(foreign)}: rows that a "
            "gate judges on are never searched on; start trials through `ratchet tune`"
        )
