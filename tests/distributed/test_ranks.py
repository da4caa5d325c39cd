"""Real ranks under a real agent: what is killed comes back or goes whole, and the weights stay the same."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mlratchet.infra.machine.processes import WORK_MARK, marked_processes
from mlratchet.models.errors import RatchetError
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.training.checkpoint import list_checkpoints, read_checkpoint
from mlratchet.models.training.job import PreemptedError, TrainingError, TrainJob
from mlratchet.models.training.result import TrainResult

from tests.conftest import Stack, wait_for
from tests.distributed.conftest import EPOCHS
from tests.distributed.training import Training, in_this_process

pytestmark = [pytest.mark.stack, pytest.mark.distributed, pytest.mark.slow]
MakeJob = Callable[..., TrainJob]


def test_a_killed_rank_is_restarted_and_the_weights_are_those_of_one_undisturbed_process(
    stack: Stack, job: MakeJob, undisturbed: TrainResult
) -> None:
    training = Training(stack, job(held=True))
    training.is_in_the_sixth_epoch_with_a_checkpoint(stack.adapters.store)
    assert len(training.ranks()) == 2
    os.kill(training.ranks()[-1].pid, signal.SIGKILL)
    training.go_on()
    result = training.finished()
    assert result.weights_sha256 == undisturbed.weights_sha256
    assert result.resumed_from_step > 0
    assert training.epochs == list(range(1, EPOCHS + 1))
    assert result.history[-1]["validation_accuracy"] > 0.85


def test_a_killed_agent_takes_its_ranks_along_and_the_next_attempt_resumes(
    stack: Stack, job: MakeJob, undisturbed: TrainResult
) -> None:
    first = job(held=True)
    training = Training(stack, first)
    training.is_in_the_sixth_epoch_with_a_checkpoint(stack.adapters.store)
    os.kill(training.agent().pid, signal.SIGKILL)
    assert "running again resumes" in str(training.failed())
    second = Training(stack, job(work_key=first.work_key, epoch=2)).finished()
    assert second.weights_sha256 == undisturbed.weights_sha256
    assert second.resumed_from_step > 0


def test_a_killed_launcher_leaves_no_process(stack: Stack, job: MakeJob, tmp_path: Path) -> None:
    made = job(held=True)
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
    wait_for("agent, forkserver, two ranks", lambda: len(marked_processes(WORK_MARK, made.work_key)) >= 4)
    launcher.kill()
    launcher.wait()
    launcher.stdout.close()
    wait_for("every process to be gone", lambda: marked_processes(WORK_MARK, made.work_key) == [])


def test_a_stopped_rank_is_noticed_by_its_steps_and_the_training_goes_on(
    stack: Stack, job: MakeJob, undisturbed: TrainResult
) -> None:
    # a busy machine may keep a rank waiting for as long, too
    training = Training(stack, job(held=True, stall_timeout_seconds=5.0, max_restarts=30))
    training.reaches_the_sixth_epoch()
    (stopped, *_) = wait_for("ranks", training.ranks)
    os.kill(stopped.pid, signal.SIGSTOP)
    training.go_on()
    assert training.finished().weights_sha256 == undisturbed.weights_sha256
    assert "made no step for" in training.log()


def test_sigterm_saves_the_step_and_says_so(stack: Stack, job: MakeJob, undisturbed: TrainResult) -> None:
    first = job(held=True, checkpoint={"every_seconds": 3600.0})
    training = Training(stack, first)
    training.reaches_the_sixth_epoch()
    os.kill(training.agent().pid, signal.SIGTERM)
    training.go_on()
    error = training.failed()
    assert isinstance(error, PreemptedError), error
    assert "the checkpoint is saved; running again resumes from it" in str(error)
    second = Training(stack, job(work_key=first.work_key, epoch=2)).finished()
    assert f"stopped at step {second.resumed_from_step} of" in str(error)
    assert second.weights_sha256 == undisturbed.weights_sha256


@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=[pytest.mark.full, pytest.mark.timeout(1200)])])
def test_kills_during_uploads_leave_no_torn_checkpoint(
    stack: Stack, job: MakeJob, undisturbed: TrainResult, kills: int
) -> None:
    """A checkpoint is due at every step, so that one is being uploaded whenever the kill comes."""
    seed = random.randrange(10**6)
    chance, store = random.Random(seed), stack.adapters.store
    epochs, expected = EPOCHS, undisturbed.weights_sha256
    if kills > 3:
        epochs = 2 * EPOCHS  # steps enough for all of them
        expected = in_this_process(job(world=1, epochs=epochs), store).weights_sha256
    often = {"checkpoint": {"every_steps": 1}, "log_every_steps": 1, "epochs": epochs}
    training = Training(stack, job(world=1, held=kills == 3, max_restarts=kills + 1, **often), timeout_s=1100)
    for done in range(kills):
        more = training.steps + chance.randrange(12)
        wait_for(
            "a step that is kept",
            lambda at=more: (
                not training.alive() or (training.is_kept(store) and (training.steps > at or training.is_held()))
            ),
        )
        for victim in training.ranks():
            victim.kill()
        if not training.alive():
            break
        torn = [
            key for _, _, key in list_checkpoints(store, training.job.work_key, up_to_epoch=9) if torn_at(store, key)
        ]
        assert torn == [], f"seed {seed}, after {done + 1} kills"
    training.go_on()
    result = training.finished()
    assert result.weights_sha256 == expected, f"seed {seed}"
    assert result.resumed_from_step > 0


def torn_at(store: ObjectStore, key: str) -> bool:
    """Whether a marker stands before parts that do not verify. Retired while it is read is not torn."""
    try:
        return read_checkpoint(store, key).position.step <= 0
    except RatchetError:
        return store.exists(key)


def test_what_only_the_user_can_mend_is_not_tried_again(stack: Stack, job: MakeJob) -> None:
    training = Training(
        stack,
        job(
            optimizer={"name": "sgd", "learning_rate": 1e30, "momentum": 0.0, "weight_decay": 0.0},
            schedule={"name": "constant", "warmup_fraction": 0.0},
            clip_norm=None,
        ),
    )
    error = training.failed()
    assert isinstance(error, TrainingError)
    assert "lower train.optimizer.learning_rate" in str(error)
