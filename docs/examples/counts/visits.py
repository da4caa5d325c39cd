"""An objective of its own: counts with a Poisson loss. The model gives the logarithm of the rate."""

import numpy as np
from mlratchet.models.metrics.probability import MeanMetric
from mlratchet.models.objectives.base import Objective
from mlratchet.models.workloads.tabular import TableRegressor
from scipy.special import xlogy
from torch.nn import functional


class PoissonDeviance(MeanMetric):
    name, direction, unit = "poisson_deviance", "lower", "nats"
    formula = "2 mean(y log(y / rate) - y + rate)"
    source = "McCullagh and Nelder (1989), Generalized Linear Models"
    span = (0.0, float("inf"))

    def quantity(self, rows):
        y, log_rate = rows.y.astype(np.float64), rows.output.astype(np.float64)
        return 2 * (xlogy(y, y) - y * log_rate - y + np.exp(log_rate))


class Counts(Objective):
    name = "count"

    def loss(self, output, target, *, label_smoothing):
        return functional.poisson_nll_loss(output.reshape(target.shape), target, log_input=True)

    def metrics(self, class_names):
        return [PoissonDeviance()]

    def answers(self, output, class_names):
        return [{"rate": rate} for rate in output.exp().reshape(len(output)).tolist()]

    def answer_schema(self, class_names):
        return {"rate": {"type": "number", "minimum": 0}}

    def refusal(self, target, class_names):
        return "" if target >= 0 and target == int(target) else f"got {target:g}, expected a count: 0, 1, 2, ..."

    def numbers(self, output):  # in the target's unit, for pictures and words
        return np.exp(output)


class VisitCounts(TableRegressor):
    task = Counts
