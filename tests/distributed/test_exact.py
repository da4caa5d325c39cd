"""Mode exact: one hash for 1, 2 and 4 processes, for any loader workers, and after kills at random moments."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from mlratchet.infra.launch.local import LocalLauncher
from mlratchet.infra.machine.processes import WORK_MARK, marked_processes
from mlratchet.models.config import WorkloadRef
from mlratchet.models.data.config import DataConfig
from mlratchet.models.data.preprocess import read_dataset_records, write_dataset
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.pipeline.loading import read_pipeline
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.job import TrainJob
from mlratchet.models.training.result import TrainResult
from mlratchet.models.workloads.loading import load_workload

from tests.conftest import REPOSITORY, Stack, wait_for
from tests.distributed.training import Training, in_this_process
from tests.distributed.troubled import go_on_of

pytestmark = [pytest.mark.stack, pytest.mark.distributed, pytest.mark.slow]
TRANSFORMER = "tests.distributed.small_transformer:SmallTransformer"
HELD = {TRANSFORMER: "HeldTransformer", "mlratchet.models.workloads.vision:ImageClassifier": "HeldDigits"}
BATCHES = 60  # of eight rows, that each rank of a training that is held prepares: 7 steps of one rank, 30 of four
MakeJob = Callable[..., TrainJob]


@pytest.fixture(scope="module", params=["digits", "transformer"])
def job(request: pytest.FixtureRequest, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> MakeJob:
    adapters = stack.adapters
    if request.param == "digits":
        spec = read_pipeline(REPOSITORY / "deployments" / "pipelines" / "digits.yaml")
        stack("seed", "digits", "--delivery", "1")
        workload, source = spec.workload, spec.source
    else:
        spec = read_pipeline(stack.pipelines / "two-layers.yaml")
        workload = WorkloadRef(use=TRANSFORMER, parameters=spec.workload.parameters)
        source = spec.source.model_copy(update={"prefix": "exact/"})
        adapters.raw.upload_file("exact/rows.csv", stack.project / "rows.csv")
    snapshot = take_snapshot(adapters.raw, adapters.store, prefix=source.prefix)
    made = load_workload(workload.use, dict(workload.parameters))
    records, _ = read_dataset_records(adapters.store, snapshot, made, source)
    dataset = write_dataset(adapters.store, snapshot, records, "code", workload, DataConfig(), source).id

    def make(
        processes: int, *, work_key: str | None = None, epoch: int = 1, held: bool = False, **changes: Any
    ) -> TrainJob:
        options = {"epochs": 10, "global_batch_size": 64, "checkpoint": {"every_steps": 5}, **changes}
        scratch, used = str(tmp_path_factory.mktemp("attempt")), workload
        if held:
            parameters = {**workload.parameters, "go_on": str(go_on_of(scratch)), "batches": BATCHES}
            used = WorkloadRef(use=f"tests.distributed.troubled:{HELD[workload.use]}", parameters=parameters)
        return TrainJob(
            work_key=work_key or uuid.uuid4().hex, epoch=epoch, dataset_id=dataset, workload=used,
            train=TrainConfig.model_validate(options), processes=processes, scratch=scratch,
        )  # fmt: skip

    return make


@pytest.fixture(scope="module")
def alone(stack: Stack, job: MakeJob) -> TrainResult:
    """One process, nobody disturbs it."""
    return in_this_process(job(1), stack.adapters.store)


def losses(result: TrainResult) -> list[float]:
    return [value for entry in result.history for name, value in sorted(entry.items()) if name.endswith("_loss")]


@pytest.mark.parametrize(("processes", "workers"), [(2, 2), (4, 0)])
def test_the_bits_do_not_depend_on_processes_or_loader_workers(
    stack: Stack, job: MakeJob, alone: TrainResult, processes: int, workers: int
) -> None:
    made = job(processes, loader_workers=workers)
    result = LocalLauncher(stack.home).train(made, on_event=lambda event: None)
    assert result.weights_sha256 == alone.weights_sha256
    assert losses(result) == losses(alone)
    assert result.rows_key == alone.rows_key
    wait_for("loader workers to be gone", lambda: marked_processes(WORK_MARK, made.work_key) == [])


def test_the_bits_survive_five_kills_with_other_numbers_of_processes(
    stack: Stack, job: MakeJob, alone: TrainResult
) -> None:
    """Per attempt a rank, which its agent restarts, then the agent: attempts of 4, 1 and 2 processes."""
    seed = random.randrange(10**6)
    chance, work_key, kills = random.Random(seed), uuid.uuid4().hex, 0
    for epoch, processes in enumerate((4, 1, 2), start=1):
        training = Training(stack, job(processes, work_key=work_key, epoch=epoch, log_every_steps=1, held=True))
        for pick in (Training.ranks, lambda training: [training.agent()])[: 2 if epoch < 3 else 1]:
            at = training.steps + chance.randrange(1, 12)
            wait_for("some steps", lambda at=at, one=training: one.steps >= at or one.is_held() or not one.alive())
            if epoch == 3:
                wait_for("a checkpoint", lambda one=training: one.is_kept(stack.adapters.store) or not one.alive())
            assert training.alive(), training.error
            chance.choice(wait_for("processes", lambda pick=pick, one=training: pick(one))).kill()
            kills += 1
        training.go_on()
        if epoch < 3:
            assert "running again resumes" in str(training.failed()), f"seed {seed}"
    result = training.finished()
    assert kills == 5
    assert result.resumed_from_step > 0
    assert result.weights_sha256 == alone.weights_sha256, f"seed {seed}"
    assert losses(result) == losses(alone), f"seed {seed}"
    assert result.rows_key == alone.rows_key, f"seed {seed}"
