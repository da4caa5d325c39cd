"""Statistics of metrics: `interval_of` and `paired_difference` choose the method; each method has its own room."""

from mlratchet.models.evaluation.statistics.bootstrap import bootstrap, paired_bootstrap
from mlratchet.models.evaluation.statistics.choose import (
    LEAST_UNITS,
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

__all__ = [
    "LEAST_UNITS", "Interval", "PValue", "absolute_test", "bootstrap", "clopper_pearson", "detectable_difference",
    "detectable_margin", "holm", "interval_of", "mcnemar", "paired_bootstrap", "paired_difference",
    "paired_standard_error", "paired_test", "rows_needed", "tango", "units_needed", "wilson",
]  # fmt: skip
