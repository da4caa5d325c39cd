"""Every measure of a delivery by name: what it says, and whether it is taken only where somebody asks for it."""

from __future__ import annotations

SHARE = "(0..1)"  # how `MEASURES` says that a measure is a share; anything else is 0 or more
MEASURES = {
    "rows": "records that can be used (count)",
    "rejected_fraction": "records set aside, of all (0..1)",
    "duplicate_fraction": "records whose content another record has too, of all (0..1)",
    "conflicting_label_fraction": "records whose content has another label elsewhere, of all (0..1)",
    "cross_split_duplicate_fraction": "test records whose content is also trained on, of all test records (0..1)",
    "near_duplicate_fraction": "records with a near-duplicate or an equal, of all (0..1)",
    "cross_split_near_duplicate_fraction": "test records with a near-duplicate or an equal that is trained on, of all "
    "test records (0..1)",
    "relabelled_fraction": "records shared with the champion's dataset by content whose label differs (0..1)",
    "volume_ratio": "records now / records in the champion's dataset",
    "class_count": "classes that have at least one record (count)",
    "smallest_class_rows": "records of the rarest class that occurs (count)",
    "label_prior_shift": "total variation distance of the class shares to the champion's dataset; of a multi-label "
    "the largest change of a label's share (0..1)",
    "constant_input_fraction": "records whose input values are all equal, of all (0..1)",
    "non_finite_fraction": "records with NaN or infinity in the input, of all (0..1)",
}
ON_DEMAND = ("near_duplicate_fraction", "cross_split_near_duplicate_fraction")
"""Taken where a gate asks for them, or the page of the delivery: they take longer than all others together."""
NEAR = ("near_duplicate_fraction", "cross_split_near_duplicate_fraction")


def range_of(measure: str, class_count: int) -> tuple[float, float]:
    """The smallest and the largest value that a measure can take."""
    if measure == "class_count":
        return 0.0, float(class_count)
    return 0.0, 1.0 if MEASURES[measure].endswith(SHARE) else float("inf")
