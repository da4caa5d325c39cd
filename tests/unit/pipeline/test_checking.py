"""What a pipeline file asks and no training could give is refused before one begins."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlratchet.flows.checking import check_pipeline
from mlratchet.models.errors import ConfigurationError

TEXT = """
name: table
workload:
  use: mlratchet.models.workloads.tabular:TableClassifier
  parameters: {columns: [a, b], classes: ["no", "yes"]}
source: {prefix: t/}
train: {early_stopping: {metric: METRIC, patience_epochs: 3}}
gates:
  data: [{kind: data, measure: rows, minimum: 1}]
  candidate: [{kind: absolute, metric: accuracy, minimum: 0.5}]
  staging: [{kind: parity, maximum_difference: 0.1}]
  champion: [{kind: absolute, metric: accuracy, minimum: 0.5}]
"""


def test_early_stopping_on_a_metric_that_no_epoch_has_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "table.yaml"
    file.write_text(TEXT.replace("METRIC", "recall_class_yes"))
    with pytest.raises(ConfigurationError, match="recall_class_yes is not measured after every epoch"):
        check_pipeline(file)
    file.write_text(TEXT.replace("METRIC", "recall_macro"))
    check_pipeline(file)
