"""The smallest workload: two linear layers, 10-5-2, on rows of ten numbers."""

from mlratchet.models.workloads.tabular import TableClassifier
from torch import nn


class TwoLayers(TableClassifier):
    def build_model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(10, 5), nn.ReLU(), nn.Linear(5, 2))
