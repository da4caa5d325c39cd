"""Faults 21, 22, 23, 37 and 39: memory, a loader, a port, credentials and a disk run out on real ranks.

Each ends with no process left (`Training.join`), and with the weights of the undisturbed training where it can go on.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from mlratchet.models.pipeline.spec import WorkloadRef
from mlratchet.models.training.job import TrainingError, TrainJob
from mlratchet.models.training.result import TrainResult

from tests.conftest import Stack, wait_for
from tests.distributed.conftest import EPOCHS, WORKLOAD
from tests.distributed.gateway import Gateway
from tests.distributed.training import Training

pytestmark = [pytest.mark.stack, pytest.mark.distributed, pytest.mark.slow]
MakeJob = Callable[..., TrainJob]


def test_21_memory_that_runs_out_is_said_with_the_batch_and_not_tried_again(stack: Stack, job: MakeJob) -> None:
    hungry = WorkloadRef(use="tests.distributed.troubled:Hungry", parameters=WORKLOAD.parameters)
    error = Training(stack, job(world=1, workload=hungry)).failed()
    assert isinstance(error, TrainingError)
    assert "out of memory with train.global_batch_size 32, 8 rows at a time; raise train.accumulation" in str(error)


def test_22_a_loader_that_stalls_is_ended_with_its_rank_and_the_training_goes_on(
    stack: Stack, job: MakeJob, undisturbed: TrainResult, tmp_path: Path
) -> None:
    trouble = tmp_path / "attempt" / "stalled"  # a rank writes in its scratch alone
    stalling = WorkloadRef(
        use="tests.distributed.troubled:StallingLoader", parameters={**WORKLOAD.parameters, "trouble": str(trouble)}
    )
    made = job(
        world=1, workload=stalling, loader_workers=1, stall_timeout_seconds=5.0, checkpoint={"every_steps": 20},
        max_restarts=30, scratch=str(tmp_path / "attempt"),
    )  # fmt: skip
    training = Training(stack, made)
    wait_for("the stall", lambda: trouble.is_file() and trouble.read_text())
    stalled = psutil.Process(int(trouble.read_text()))
    wait_for("the loader to be gone", lambda: ended(stalled))
    assert training.alive()  # it went with its rank, not with the whole attempt
    result = training.finished()
    assert "made no step for" in training.log()
    assert result.resumed_from_step > 0
    assert result.weights_sha256 == undisturbed.weights_sha256


def ended(process: psutil.Process) -> bool:
    """Gone, or waiting for a parent that reads its exit code."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_23_a_port_that_is_taken_disturbs_nobody_on_one_node(
    stack: Stack, job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its agent meets its ranks by a file. Where several nodes have to be told a port, a taken one is named."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setenv("RATCHET_RENDEZVOUS_PORT", str(other.getsockname()[1]))
        Training(stack, job(world=1, epochs=2)).finished()


def test_37_credentials_that_expire_end_the_attempt_and_new_ones_resume_it(
    stack: Stack, job: MakeJob, undisturbed: TrainResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct = urlsplit(stack.settings.s3_endpoint_url)
    gateway = Gateway(str(direct.hostname), int(direct.port or 0))
    first = job(world=1, held=True)
    with monkeypatch.context() as patch:
        patch.setenv("RATCHET_S3_ENDPOINT_URL", gateway.url)
        training = Training(stack, first)
        training.is_in_the_sixth_epoch_with_a_checkpoint(stack.adapters.store)
        gateway.refuse()
        training.go_on()
        error = training.failed()
    gateway.close()
    assert (error.code, error.exit_code) == ("CREDENTIALS", 5)
    assert "the credentials have expired (ExpiredToken); set new ones (RATCHET_S3_ACCESS_KEY" in str(error)
    assert stack.settings.s3_secret_key.get_secret_value() not in str(error) + training.log()
    second = Training(stack, job(world=1, work_key=first.work_key, epoch=2)).finished()
    assert second.resumed_from_step > 0
    assert second.weights_sha256 == undisturbed.weights_sha256


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """128 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount") or "mount"
    done = subprocess.run([mount, "-t", "tmpfs", "-o", "size=128k", "ratchet-test", str(folder)], capture_output=True)
    if done.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_39_a_full_disk_costs_events_and_nothing_else(
    stack: Stack, job: MakeJob, undisturbed: TrainResult, small_disk: Path
) -> None:
    training = Training(stack, job(world=1, scratch=str(small_disk / "attempt"), log_every_steps=1))
    result = training.finished()
    assert result.weights_sha256 == undisturbed.weights_sha256
    assert 0 < len(training.epochs) < EPOCHS
    assert shutil.disk_usage(small_disk).free < 4096
