"""What is kept of a column of the log: a mergeable summary in constant memory, of the kind of its field."""

from mlratchet.models.monitoring.sketches.kinds import Sketch, merged, of, sketch_from_json
from mlratchet.models.monitoring.sketches.numbers import NumberSketch
from mlratchet.models.monitoring.sketches.values import ValueSketch
from mlratchet.models.monitoring.sketches.vectors import VectorSketch

__all__ = ["NumberSketch", "Sketch", "ValueSketch", "VectorSketch", "merged", "of", "sketch_from_json"]
