"""The rules that a delivery is held against, and what follows where one is broken: `quality.rules` of a pipeline file.

A rule is about a record that cannot be used (it is set aside whatever its policy), about a record that was changed to
be used, or about the delivery as a whole.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from mlratchet.models.config import StrictModel
from mlratchet.models.data.config import NearDuplicates
from mlratchet.models.errors import DataError
from mlratchet.models.nearest import nearest_hint
from mlratchet.models.sources.record import Record, Reject
from mlratchet.models.sources.record_table import REMARKS, RecordPiece, pieces_of_records, read_one_by_one
from mlratchet.models.tensors.spec import TensorSpec
from pydantic import Field, field_validator

logger = logging.getLogger(__name__)
Policy = Literal["error", "quarantine", "warn", "ignore"]

UNUSABLE: tuple[str, ...] = (
    # a table's row
    "ragged_row", "empty_row", "bad_quote", "bad_encoding", "nul_byte", "cell_too_large", "duplicate_id",
    "duplicate_row", "not_text", "bad_json",
    # a field of it
    "missing_value", "missing_label", "missing_id", "missing_group", "missing_user", "missing_item", "not_a_number",
    "non_finite", "overflow", "other_decimal_mark", "below_minimum", "above_maximum", "not_whole", "unknown_value",
    "unknown_label", "unknown_side", "missing_time", "not_a_time", "strange_letter", "bad_shape", "bad_target",
    "bad_rating",
    # a picture or a sound
    "truncated_image", "not_an_image", "undecodable_image", "content_unlike_extension", "too_many_pixels",
    "unknown_range", "out_of_range", "not_a_sound", "undecodable_sound", "truncated_sound", "empty_sound", "too_long",
    "many_channels", "strange_rate", "other_format",
    # a sequence
    "bad_letter", "bad_record", "truncated_record", "empty_sequence", "no_description",
    # a partner that is not there
    "no_class", "no_file", "no_label", "no_partner", "contradiction",
    # a file or a part of one
    "bad_header", "open_quote", "not_a_table", "not_a_parquet", "damaged_parquet", "unreconciled", "empty_file",
    "bad_archive", "truncated_archive", "bad_compression", "bad_sample", "pickled_member", "unknown_member",
)  # fmt: skip
"""Of records that nobody can use. `quarantine` counts them towards `rejected_fraction`; `warn` and `ignore` do not."""
CHANGED: tuple[str, ...] = ("converted", "broken_exif", "narrow_range", "first_frame", "float32_merges")
"""Of records that were changed to be used, with a remark. `quarantine` sets them aside instead."""
OF_A_DELIVERY: Mapping[str, Policy] = {
    "too_few_rows": "warn",
    "single_class": "error",
    "feature_is_label": "error",
    "class_absent_from_split": "warn",
    "cross_split_duplicate": "warn",
    "entity_overlap": "ignore",
    "time_overlap": "ignore",
    "new_category": "warn",
    "distribution_shift": "ignore",
}
"""Of the delivery as a whole, with what follows where the file says nothing. Nothing of it can be set aside."""
OTHERS = "others"  # stands for the rules of a reader of the user's own
RULES: tuple[str, ...] = (*UNUSABLE, *CHANGED, *OF_A_DELIVERY, OTHERS)


class QualityConfig(StrictModel):
    """What follows where a rule is broken, and from when on records are near-duplicates."""

    rules: dict[str, Policy] = Field(default_factory=dict)
    """Rule -> `error` (the run ends with exit code 3), `quarantine`, `warn` or `ignore`; docs/quality.md lists them.
    `others`: every rule of a reader of your own."""
    near: NearDuplicates = NearDuplicates()
    """From which distance on two records count as near-duplicates."""
    most_drift: float = Field(default=0.2, gt=0, le=1)
    """Of the rule `distribution_shift`: the largest `field_drift` that breaks no rule."""

    @field_validator("rules")
    @classmethod
    def _known(cls, value: dict[str, Policy]) -> dict[str, Policy]:
        for name, policy in value.items():
            if name not in RULES:
                raise ValueError(f"no rule {name!r}; {nearest_hint(name, RULES)}")
            if policy == "quarantine" and name in OF_A_DELIVERY:
                raise ValueError(
                    f"{name} is about the delivery as a whole, of which nothing can be set aside; expected error, warn "
                    "or ignore"
                )
        return value

    def policy_of(self, rule: str) -> Policy:
        """What follows where it is broken."""
        if rule in self.rules:
            return self.rules[rule]
        if rule in OF_A_DELIVERY:
            return OF_A_DELIVERY[rule]
        if rule in CHANGED:
            return "warn"
        return "quarantine" if rule in UNUSABLE else self.rules.get(OTHERS, "quarantine")

    @property
    def set_aside(self) -> tuple[str, ...]:
        """Remarks whose records are set aside: this decides the rows of a dataset."""
        return tuple(sorted(name for name in CHANGED if self.policy_of(name) in ("quarantine", "error")))


AS_USUAL = QualityConfig()


class RuleBrokenError(DataError):
    """A delivery broke a rule that the pipeline file makes an error."""


def ruled(found: Iterable[Record | Reject], config: QualityConfig) -> Iterator[Record | Reject]:
    """A record whose remark sets it aside is a reject; a remark that is ignored is none."""
    aside = set(config.set_aside)
    ignored = {name for name in CHANGED if config.policy_of(name) == "ignore"}
    for one in found:
        if isinstance(one, Reject) or not one.remarks:
            yield one
            continue
        broken = next((remark for remark in one.remarks if remark.code in aside), None)
        if broken is not None:
            yield Reject(where=one.where or one.id, code=broken.code, reason=broken.words)
        elif ignored.isdisjoint(remark.code for remark in one.remarks):
            yield one
        else:
            yield replace(one, remarks=tuple(r for r in one.remarks if r.code not in ignored))


def ruled_pieces(
    pieces: Iterable[RecordPiece], config: QualityConfig, tensors: Sequence[TensorSpec]
) -> Iterator[RecordPiece]:
    """The same of tables: one without a remark stays as it is."""
    for piece in pieces:
        if piece.table is None or piece.table[REMARKS].null_count == piece.table.num_rows:
            yield piece
        else:
            yield from pieces_of_records(ruled(read_one_by_one([piece]), config), tensors)


def refuse_errors(rejects: Iterable[Reject], config: QualityConfig, pipeline: str) -> None:
    """Raises ``RuleBrokenError`` where a record was set aside by a rule that is an error; warns where the file says
    so."""
    counts: dict[str, int] = {}
    first: dict[str, Reject] = {}
    for one in rejects:
        counts[one.code] = counts.get(one.code, 0) + one.records
        first.setdefault(one.code, one)
    for rule, records in sorted(counts.items()):
        policy = config.policy_of(rule)
        if policy == "error":
            raise RuleBrokenError(
                f"{first[rule].reason}: rule {rule} is an error by quality.rules, and {records:,} records break it; "
                f"`ratchet rejects {pipeline} --rule {rule}` prints them; mend the delivery, or declare `quarantine`"
            )
        if policy == "warn":
            logger.warning("%s: %s records: %s", rule, f"{records:,}", first[rule].reason)


def counted(rejects: Iterable[Reject], config: QualityConfig) -> int:
    """Records set aside that count towards `rejected_fraction`."""
    return sum(one.records for one in rejects if config.policy_of(one.code) in ("quarantine", "error"))


def follow(rule: str, broken: str, config: QualityConfig) -> None:
    """What follows where a delivery as a whole breaks a rule; `broken` says how, empty where it does not.

    Raises ``RuleBrokenError``."""
    policy = config.policy_of(rule)
    if not broken or policy == "ignore":
        return
    if policy == "error":
        raise RuleBrokenError(
            f"{broken}: rule {rule} is an error; mend the delivery, or declare quality.rules.{rule}: warn"
        )
    logger.warning("%s: %s", rule, broken)
