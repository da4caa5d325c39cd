"""`data`: a measure of the delivery against a bound."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.data.quality.measures import MEASURES, range_of
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.gates.checks.base import Needs, PolicyContext
from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.checks.naming import always_holds, out_of_range, unknown_name
from mlratchet.models.gates.checks.statistical import Bounded
from mlratchet.models.gates.result import CheckResult, against_bound, bound_words, not_applicable, unknown
from mlratchet.models.objectives.naming import objective_of

COMPARING = ("label_prior_shift", "relabelled_fraction", "volume_ratio")
"""Measures of the delivery against the one before."""
OF_CLASSES = ("class_count", "smallest_class_rows", "label_prior_shift")


class DataCheck(Bounded):
    """A measure of the delivery (docs/gates.md lists them) against a bound."""

    gates = ("data",)
    wears = False

    kind: Literal["data"]
    measure: str

    @property
    def subject(self) -> str:
        """The measure."""
        return self.measure

    @property
    def compares(self) -> bool:
        """Some measures are of two deliveries."""
        return self.measure in COMPARING

    def needs(self) -> Needs:
        """The measure."""
        return Needs(measures=(self.measure,))

    def validate_in(self, context: PolicyContext, where: str) -> None:
        """A measure that there is, of a workload that has what it counts, and a bound that it can miss."""
        if self.measure not in MEASURES:
            raise unknown_name(where, "measure", self.measure, list(MEASURES))
        if self.measure in OF_CLASSES and not context.class_names:
            raise ConfigurationError(
                f"{where}: {self.measure} is never measured: a {objective_of(context.task).name} has no classes"
            )
        low, high = range_of(self.measure, len(context.class_names))
        for field, bound, vacuous in (("minimum", self.minimum, low), ("maximum", self.maximum, high)):
            if bound is None:
                continue
            if not low <= bound <= high:
                raise out_of_range(where, field, bound, self.measure, (low, high))
            if bound == vacuous:
                raise always_holds(where, field, bound, self.measure, (low, high))

    def judge(self, case: Case) -> CheckResult:
        """The measure against the bound; over nothing it says nothing."""
        threshold = bound_words(self.minimum, self.maximum)
        measure = case.evidence.data_measures.get(self.measure)
        if measure is None:
            return unknown(self.kind, self.measure, threshold, "not measured for this kind of data")
        if measure.n < 1:
            why = measure.detail or "there were no records to measure it on"
            if case.first_model:
                return not_applicable(self.kind, self.measure, threshold, why)
            return unknown(self.kind, self.measure, threshold, why)
        return against_bound(
            self.kind,
            self.measure,
            measure.value,
            measure.n,
            minimum=self.minimum,
            maximum=self.maximum,
            detail=measure.detail,
        )
