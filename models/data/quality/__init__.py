"""Quality of a delivery: what is measured of its records, for the data gate and for people."""

from mlratchet.models.data.quality.inspect import inspect
from mlratchet.models.data.quality.measure import Measure, Names
from mlratchet.models.data.quality.measures import MEASURES, ON_DEMAND, range_of
from mlratchet.models.data.quality.report import QualityReport

__all__ = ["MEASURES", "ON_DEMAND", "Measure", "Names", "QualityReport", "inspect", "range_of"]
