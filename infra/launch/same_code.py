"""Whether a node has the code of the first one: weights that two versions of a file made together are nobody's."""

from __future__ import annotations

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.identity.difference import differences
from mlratchet.models.identity.product import code_of_training
from mlratchet.models.training.job import TrainJob
from mlratchet.models.workloads.loading import load_workload, workload_source

SHOWN = 6  # phrases of a line


def refuse_other_code(job: TrainJob) -> None:
    """By a rank of another node. Raises ``ConfigurationError`` with what differs from the first node's, or is missing.

    The first node's own code is what the job names.
    """
    meet = job.rendezvous
    if meet is None or meet.first or not job.code:
        return
    workload = load_workload(job.workload.use, dict(job.workload.parameters))
    ours = code_of_training(workload_source(job.workload.use, workload.task), job.train.optimizer.factory)
    found = differences({"code": job.code}, {"code": ours}, ratchet="trains")
    if found:
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise ConfigurationError(
            f"ratchet join at {meet.address}: other code than on the first node: {'; '.join(found[:SHOWN])}{more}; "
            "bring the same files and packages there, and run again"
        )
