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
    "single_field_power": "what one field alone says right of what a constant answer gets wrong, on other rows than it "
    "was learnt from: the largest of the inputs (0..1)",
    "time_overlap_fraction": "test records that are older than the newest one that is trained on, of all with a time "
    "(0..1)",
    "entity_overlap_fraction": "test records of an entity or group that is also trained on, of all that have one: the "
    "largest of the fields (0..1)",
    "label_noise_fraction": "labels that look wrong to a model that has not seen them, of all (0..1)",
    "outlier_fraction": "records with a number more than 10 robust deviations from the median of its field (0..1)",
    "newest_age_days": "days between the newest time of a record, or where there is none of an object, and the run",
    "field_drift": "Jensen-Shannon distance of a field to the champion's dataset, without what chance makes: the "
    "largest of the fields (0..1)",
    "new_category_fraction": "records with a word that the champion's dataset does not have: the largest of the fields "
    "(0..1)",
}
NEAR = ("near_duplicate_fraction", "cross_split_near_duplicate_fraction")
NOISE, ENTITIES, AGE = "label_noise_fraction", "entity_overlap_fraction", "newest_age_days"
ON_DEMAND = (*NEAR, NOISE, ENTITIES)
"""Taken where a check asks for them: each takes longer, or more memory, than all others together."""


def range_of(measure: str, class_count: int) -> tuple[float, float]:
    """The smallest and the largest value that a measure can take."""
    if measure == "class_count":
        return 0.0, float(class_count)
    return 0.0, 1.0 if MEASURES[measure].endswith(SHARE) else float("inf")
