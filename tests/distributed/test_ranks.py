"""Real ranks under a real agent: what is killed comes back or goes whole, and the weights stay the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlratchet.infra.launch.local import LocalLauncher
from mlratchet.infra.processes import WORK_MARK, marked_processes
from mlratchet.models.data.config import DataConfig, SourceConfig
from mlratchet.models.data.preprocess import read_dataset_records, write_dataset
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.errors import InfrastructureError
from mlratchet.models.pipeline.workload import WorkloadRef
from mlratchet.models.training.checkpoint import list_checkpoints, read_checkpoint
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.job import PreemptedError, TrainingError, TrainJob
from mlratchet.models.training.result import TrainResult
from mlratchet.models.workloads.loading import load_workload

from tests.conftest import Stack, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.distributed, pytest.mark.slow]
WORKLOAD = WorkloadRef(
    use="mlratchet.models.workloads.tabular:TableClassifier",
    parameters={"columns": [f"x{i}" for i in range(10)], "classes": ["0", "1"], "hidden": 5},
)
MakeJob = Callable[..., TrainJob]


@pytest.fixture(scope="module")
def dataset(stack: Stack) -> str:
    adapters, source = stack.adapters, SourceConfig(prefix="ranks/")
    adapters.raw.upload_file("ranks/rows.csv", stack.project / "rows.csv")
    snapshot = take_snapshot(adapters.raw, adapters.store, prefix="ranks/")
    workload = load_workload(WORKLOAD.use, WORKLOAD.parameters)
    records, _ = read_dataset_records(adapters.store, snapshot, workload, source)
    return write_dataset(adapters.store, snapshot, records, "code", WORKLOAD, DataConfig(), source).id


@pytest.fixture(scope="module")
def job(dataset: str, tmp_path_factory: pytest.TempPathFactory) -> MakeJob:
    def make(work_key: str | None = None, epoch: int = 1, **changes: Any) -> TrainJob:
        world = changes.pop("world", 2)
        options = {"epochs": 60, "global_batch_size": 32, "processes": 2, "checkpoint": {"every_steps": 40}, **changes}
        return TrainJob(
            work_key=work_key or uuid.uuid4().hex, epoch=epoch, dataset_id=dataset, workload=WORKLOAD,
            train=TrainConfig.model_validate(options), processes=world, scratch=str(tmp_path_factory.mktemp("attempt")),
        )  # fmt: skip

    return make


@pytest.fixture(scope="module")
def undisturbed(stack: Stack, job: MakeJob) -> TrainResult:
    """The same training, left alone."""
    events: list[Any] = []
    result = LocalLauncher(stack.home).train(job(), on_event=events.append)
    assert [event["epoch"] for event in events if event["event"] == "epoch"] == list(range(1, 61))
    return result


class Training:
    """`LocalLauncher.train` in a thread."""

    def __init__(self, stack: Stack, job: TrainJob) -> None:
        self.job, self.result, self.error = job, None, None
        self.epochs: list[int] = []
        self._launcher = LocalLauncher(stack.home)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.result = self._launcher.train(self.job, on_event=self._hear)
        except Exception as error:
            self.error = error

    def _hear(self, event: dict[str, Any]) -> None:
        if event["event"] == "epoch":
            self.epochs.append(event["epoch"])

    def join(self) -> None:
        self._thread.join(120)
        assert not self._thread.is_alive()

    def processes(self) -> list[psutil.Process]:
        return marked_processes(WORK_MARK, self.job.work_key)

    def agent(self) -> psutil.Process:
        return next(p for p in self.processes() if "mlratchet.infra.launch.agent" in p.cmdline())

    def ranks(self) -> list[psutil.Process]:
        """Children of the forkserver."""
        mine = {p.pid: p for p in self.processes()}
        grandchildren = [p for p in mine.values() if p.ppid() in mine and mine[p.ppid()].ppid() == self.agent().pid]
        return [p for p in grandchildren if "RANK" in p.environ() or "forkserver" in " ".join(p.cmdline())]


def test_two_ranks_train_and_leave_no_process(undisturbed: TrainResult, stack: Stack) -> None:
    assert undisturbed.history[-1]["validation_accuracy"] > 0.85
    assert undisturbed.resumed_from_step == 0


def test_a_killed_rank_is_restarted_and_the_weights_are_the_same(
    stack: Stack, job: MakeJob, undisturbed: TrainResult
) -> None:
    training = Training(stack, job())
    wait_for("the fifth epoch", lambda: len(training.epochs) >= 5)
    os.kill(training.ranks()[-1].pid, signal.SIGKILL)
    training.join()
    assert training.error is None
    assert training.result is not None
    assert training.result.weights_sha256 == undisturbed.weights_sha256
    assert training.result.resumed_from_step > 0
    assert training.processes() == []
    assert training.epochs == list(range(1, 61))


def test_a_killed_agent_takes_its_ranks_along_and_the_next_attempt_resumes(
    stack: Stack, job: MakeJob, undisturbed: TrainResult
) -> None:
    first = job()
    training = Training(stack, first)
    wait_for("the fifth epoch", lambda: len(training.epochs) >= 5)
    assert len(training.ranks()) == 2
    os.kill(training.agent().pid, signal.SIGKILL)
    training.join()
    assert isinstance(training.error, InfrastructureError)
    assert "running again resumes" in str(training.error)
    wait_for("every process to be gone", lambda: training.processes() == [], 15)
    second = Training(stack, job(work_key=first.work_key, epoch=2))
    second.join()
    assert second.result is not None
    assert second.result.weights_sha256 == undisturbed.weights_sha256
    assert second.result.resumed_from_step > 0


def test_a_killed_launcher_leaves_no_process(stack: Stack, job: MakeJob, tmp_path: Path) -> None:
    made = job()
    (tmp_path / "job.json").write_text(made.model_dump_json())
    script = (
        "import sys; from pathlib import Path; from mlratchet.infra.launch.local import LocalLauncher; "
        "from mlratchet.models.training.job import TrainJob; "
        "job = TrainJob.model_validate_json(Path(sys.argv[1]).read_text()); "
        "LocalLauncher(Path(sys.argv[2])).train(job, on_event=lambda e: print(e['event'], flush=True))"
    )
    launcher = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "job.json"), str(stack.home)], stdout=subprocess.PIPE, text=True
    )
    assert launcher.stdout is not None
    assert launcher.stdout.readline() == "note\n"
    assert len(marked_processes(WORK_MARK, made.work_key)) >= 4  # agent, forkserver, two ranks
    launcher.kill()
    launcher.wait()
    launcher.stdout.close()
    wait_for("every process to be gone", lambda: marked_processes(WORK_MARK, made.work_key) == [], 15)


def test_a_stopped_rank_is_noticed_by_its_steps_and_the_training_goes_on(
    stack: Stack, job: MakeJob, undisturbed: TrainResult
) -> None:
    made = job(stall_timeout_seconds=2.0)
    training = Training(stack, made)
    wait_for("the fifth epoch", lambda: len(training.epochs) >= 5)
    os.kill(training.ranks()[-1].pid, signal.SIGSTOP)
    training.join()
    assert training.error is None
    assert training.result is not None
    assert training.result.weights_sha256 == undisturbed.weights_sha256
    assert "made no step for" in (Path(made.scratch) / "ranks.log").read_text()
    assert training.processes() == []


def test_sigterm_saves_the_step_and_says_so(stack: Stack, job: MakeJob, undisturbed: TrainResult) -> None:
    first = job(checkpoint={"every_seconds": 3600.0})
    training = Training(stack, first)
    wait_for("the fifth epoch", lambda: len(training.epochs) >= 5)
    os.kill(training.agent().pid, signal.SIGTERM)
    training.join()
    assert isinstance(training.error, PreemptedError), training.error
    assert "the checkpoint is saved; running again resumes from it" in str(training.error)
    assert training.processes() == []
    second = Training(stack, job(work_key=first.work_key, epoch=2))
    second.join()
    assert second.result is not None
    assert f"stopped at step {second.result.resumed_from_step} of" in str(training.error)
    assert second.result.weights_sha256 == undisturbed.weights_sha256


def test_a_crash_during_an_upload_leaves_no_torn_checkpoint(
    stack: Stack, job: MakeJob, undisturbed: TrainResult
) -> None:
    work_key, store = uuid.uuid4().hex, stack.adapters.store
    launcher = LocalLauncher(stack.home)
    points = ("checkpoint.after_part", "checkpoint.before_marker", "checkpoint.after_marker")
    for epoch, point in enumerate(points, start=1):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RATCHET_FAULT", f"{point}:crash")
            with pytest.raises(InfrastructureError):
                launcher.train(job(world=1, work_key=work_key, epoch=epoch, max_restarts=0), on_event=lambda e: None)
        for _, _, key in list_checkpoints(store, work_key, up_to_epoch=9):
            assert read_checkpoint(store, key).position.step > 0
    result = launcher.train(job(world=1, work_key=work_key, epoch=9), on_event=lambda e: None)
    assert result.resumed_from_step > 0
    assert result.weights_sha256 == undisturbed.weights_sha256  # of two processes


def test_what_only_the_user_can_mend_is_not_tried_again(stack: Stack, job: MakeJob) -> None:
    training = Training(
        stack,
        job(
            optimizer={"name": "sgd", "learning_rate": 1e30, "momentum": 0.0, "weight_decay": 0.0},
            schedule={"name": "constant", "warmup_fraction": 0.0},
            clip_norm=None,
        ),
    )
    training.join()
    assert isinstance(training.error, TrainingError)
    assert "lower train.optimizer.learning_rate" in str(training.error)
    assert training.processes() == []
