"""Tries the model of MODULE.py on examples that are made up from the schema: `pytest test_MODULE.py`."""

from pathlib import Path

import torch
from mlratchet.models.pipeline.loading import read_pipeline
from mlratchet.models.tensors.batch import asked_by_name, batch_of
from mlratchet.models.training.rehearsal_rows import fitted_to_made_up, made_up
from mlratchet.models.workloads.loading import load_workload

FILE = Path("PIPELINE")


def test_it_learns_and_answers_a_row_alike_alone_and_among_others() -> None:
    told = read_pipeline(FILE).workload
    workload = load_workload(told.use, dict(told.parameters))
    fitted = fitted_to_made_up(workload, told)
    workload = load_workload(fitted.use, dict(fitted.parameters))
    rows, module = made_up(workload), workload.build_model()
    model, wanted = asked_by_name(module, workload.tensors()), torch.from_numpy(rows.y)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    losses = []
    for _ in range(20):
        losses.append(workload.loss(model(batch_of(rows.x)), wanted, label_smoothing=0.0))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0]
    module.eval()
    assert torch.allclose(model(batch_of(rows.x))[:1], model(batch_of(rows.x.rows(slice(1)))), atol=1e-5)
