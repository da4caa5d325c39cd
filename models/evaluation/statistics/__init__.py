"""Statistics of metrics: `interval_of` and `paired_difference` choose the method; each method has its own room."""

from mlratchet.models.evaluation.statistics.bootstrap import LEAST_UNITS, bootstrap, paired_bootstrap
from mlratchet.models.evaluation.statistics.choose import (
    PValue,
    absolute_test,
    interval_of,
    paired_difference,
    paired_standard_error,
    paired_test,
)
from mlratchet.models.evaluation.statistics.interval import Interval
from mlratchet.models.evaluation.statistics.multiplicity import holm
from mlratchet.models.evaluation.statistics.power import (
    detectable_difference,
    detectable_margin,
    rows_needed,
    units_needed,
)
from mlratchet.models.evaluation.statistics.proportions import clopper_pearson, mcnemar, tango, wilson
from mlratchet.models.evaluation.statistics.sequences import ConfidenceSequence, bounded_mean_sequence, mean_sequence

__all__ = [
    "LEAST_UNITS", "ConfidenceSequence", "Interval", "PValue", "absolute_test", "bootstrap",
    "bounded_mean_sequence", "clopper_pearson", "detectable_difference", "detectable_margin", "holm",
    "interval_of", "mcnemar", "mean_sequence", "paired_bootstrap", "paired_difference", "paired_standard_error",
    "paired_test", "rows_needed", "tango", "units_needed", "wilson",
]  # fmt: skip
