"""The agent's process of one attempt on one node: where it meets the others, its start, its end and what it said."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import signal
import socket
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from mlratchet.infra.child.call import MOST_WORDS
from mlratchet.infra.child.confine import Bounds, users_files
from mlratchet.infra.child.handed_back import read_handed_back
from mlratchet.infra.child.start import start_agent_of_ranks
from mlratchet.infra.launch import preload
from mlratchet.infra.launch.network import network_environment
from mlratchet.infra.launch.watchdog import PREEMPTED
from mlratchet.infra.machine.processes import HOME_MARK, STACK_MARK, WORK_MARK, sweep
from mlratchet.infra.machine.temporary import temporary_folder
from mlratchet.infra.settings import BOUNDS, Settings, process_environment, told_to_children
from mlratchet.infra.storage.shard_cache import shards_folder
from mlratchet.infra.warm.ask import Process
from mlratchet.models.config import StrictModel
from mlratchet.models.errors import ConfigurationError, DataError, InfrastructureError, RatchetError, SecurityError
from mlratchet.models.identity.signed_records import ForeignRecord, RevokedRecord, UnsignedRecord
from mlratchet.models.ports.children import Rights
from mlratchet.models.ports.storage import CredentialsExpired, StorageError
from mlratchet.models.printable import plain
from mlratchet.models.training.job import PreemptedError, Rendezvous, StaleAttemptError, TrainingError, TrainJob
from mlratchet.models.training.result import TrainResult, parse_result
from pydantic import model_validator

GRACE_S = 30.0  # seconds between SIGTERM and SIGKILL: a checkpoint is written in them
MOST_SAID, MOST_LOG = 1 << 20, 1 << 30  # bytes
TOLD = (STACK_MARK, "RATCHET_FAULT")  # of this process's environment, beside what every child is told
LOG, ERROR = "ranks.log", "error.json"  # in the scratch directory
TAKEN = re.compile(r"address already in use|EADDRINUSE", re.IGNORECASE)
MOST_SHOWN = 400  # characters of a line that is no error of ours
RANK_ERRORS: Mapping[str, type[RatchetError]] = {
    one.code: one
    for one in (
        ConfigurationError, DataError, TrainingError, InfrastructureError, StorageError, CredentialsExpired,
        StaleAttemptError, SecurityError, ForeignRecord, UnsignedRecord, RevokedRecord,
    )
}  # fmt: skip
"""What a rank may raise, by code; its exit code is the kind's."""
KILLED = re.compile(r"exitcode\s+:\s*-9\b")  # as torch's agent reports a rank
# glibc maps large blocks anew for every activation and gives them back: a page fault per 4 kB and step. With blocks
# that stay in the heap, steps of large batches on CPUs take down to half the time (docs/benchmarks.md).
# glibc before 2.36 may refuse a threshold above 32 MB, and would then keep the smallest.
GLIBC = tuple(int(part) for part in platform.libc_ver()[1].split(".") if part.isdigit())
LARGEST = 1 << 30 if GLIBC >= (2, 36) else 1 << 25
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(LARGEST),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 33),
    "MALLOC_TOP_PAD_": "67108864",
}
NOBODY_CAME = "RendezvousTimeoutError"


class Room:
    """A folder of mode 0700 for one attempt on this node, outside of the home."""

    def __init__(self) -> None:
        self._made = temporary_folder("attempt")
        self.folder = Path(self._made.name)
        self.meet, self.temporary = self.folder / "meet", self.folder / "tmp"
        self.meet.mkdir(mode=0o700)
        self.temporary.mkdir(mode=0o700)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._made.cleanup()


def meeting_place(settings: Settings, room: Room, *, several: bool) -> Rendezvous:
    """Of a new attempt. On one node agents meet in a file: torch unpickles what is said there, and a port is anybody's
    on this machine. Other nodes have to be told a port, so with them a free one is chosen here."""
    port = settings.rendezvous_port
    if not several:
        return Rendezvous(
            endpoint=str(room.meet / "agents"),
            run_id=uuid.uuid4().hex,
            address=settings.node_address,
            wait_seconds=settings.node_wait_seconds,
        )
    if not port:
        with socket.socket() as probe:
            probe.bind((settings.node_address, 0))
            port = int(probe.getsockname()[1])
    return Rendezvous(
        endpoint=f"{settings.node_address}:{port}",
        run_id=uuid.uuid4().hex,
        address=settings.node_address,
        wait_seconds=settings.node_wait_seconds,
    )


def rights_of(job: TrainJob) -> Rights:
    """What the ranks of an attempt may do in the store: read their dataset and the weights that they begin from, and
    create objects in their own epoch's folder. What they say of these is signed by who started them."""
    work = f"work/{job.work_key}/"
    began = (job.parent_weights_key,) if job.parent_weights_key else ()
    return Rights(
        read=("datasets/", "shards/", "indexes/", "rows/", work, *began),
        create=("rows/", f"{work}e{job.epoch:06d}/"),
    )


def marks_of(work_key: str, home: Path) -> dict[str, str]:
    """In the environment of every process of an attempt, by which it is found."""
    return {WORK_MARK: work_key, HOME_MARK: str(home)}


def sweep_attempts(work_key: str, home: Path) -> int:
    """End what an earlier attempt at this work left on this machine; returns how many processes. Those of another
    installation, which may train the same work at the same time, are none of ours."""
    return sweep(WORK_MARK, work_key, **{HOME_MARK: str(home)})


def start_agent(
    job: TrainJob, settings: Settings, room: Room, channel: socket.socket, *, more: Mapping[str, str] | None = None
) -> Process:
    """In a session of its own, a fork where the stack has a warm process or children have a nursery; what it and the
    ranks print goes to a file. It is told no credential, and neither it nor a rank reads the home or writes outside of
    scratch and `room`. `channel`: through which ranks ask for objects; closed here. `more`: variables for its
    environment."""
    assert job.rendezvous is not None, "the launcher says where to meet"
    scratch = Path(job.scratch)
    scratch.mkdir(parents=True, exist_ok=True)
    job_file = scratch / "job.json"
    job_file.write_text(job.model_dump_json())
    own = process_environment()
    environment = ALLOCATOR | told_to_children(own) | {name: own[name] for name in TOLD if name in own}
    environment |= network_environment(job.rendezvous.address) | dict(more or {})
    environment |= {
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        "OMP_NUM_THREADS": str(job.train.threads_per_process),
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # deterministic matrix products on CUDA
        **marks_of(job.work_key, settings.home),
        "HOME": str(scratch),
        "TMPDIR": str(room.temporary),
        BOUNDS: bounds_of(job, settings, room).to_json(),
    }
    with channel, (scratch / LOG).open("ab") as sink:  # never our stdout: a grandchild holding it hides a crash
        return start_agent_of_ranks(
            "mlratchet.infra.launch.agent",
            [str(job_file)],
            home=settings.home,
            environment=environment,
            output=sink.fileno(),
            when_gone=signal.SIGTERM,
            source=channel.fileno(),
        )


def bounds_of(job: TrainJob, settings: Settings, room: Room) -> Bounds:
    """Of the ranks."""
    named = (settings.signing_key_file, settings.approver_key_file)
    return Bounds(
        scratch=Path(job.scratch),
        writes=(room.temporary,),
        reads=users_files(),
        granted=(shards_folder(settings.home),),  # copies that the process with the credentials keeps
        closed=(settings.home, *(file.parent for file in named if file is not None)),
        connects="anywhere" if job.train.nodes > 1 else "ranks" if job.processes > 1 else "nothing",
        sockets="any" if needs_any_socket(job) else "tcp",
        shared_memory=True,
    )


def needs_any_socket(job: TrainJob) -> bool:
    """CUDA and NCCL find each other through Unix sockets."""
    import torch

    cuda = job.train.device != "cpu" and torch.cuda.is_available()
    return cuda or not preload.FORKS


def end_session(agent: Process, *, at_once: bool = False) -> None:
    """SIGTERM, wait, SIGKILL: the agent and every rank are in its group. `at_once`: SIGKILL alone."""
    killing = ((signal.SIGKILL, 5.0),)
    for signum, grace_s in killing if at_once else ((signal.SIGTERM, GRACE_S), *killing):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(agent.pid, signum)
        with contextlib.suppress(subprocess.TimeoutExpired):
            agent.wait(grace_s)


class RankError(StrictModel):
    """What a rank wrote before it ended. It runs the user's code: its words are theirs, and are checked."""

    code: str
    exit_code: int
    message: str

    @model_validator(mode="after")
    def _is_one_of_ours(self) -> Self:
        kind = RANK_ERRORS.get(self.code)
        if kind is None or kind.exit_code != self.exit_code:
            raise ValueError(f"a rank raises no {self.code[:50]!r} with exit code {self.exit_code}")
        return self


def error_of(said: bytes) -> RatchetError:
    """What a rank wrote, as it was raised there; ``InfrastructureError`` for what is no error of ours."""
    try:
        told = RankError.model_validate_json(said)
    except ValueError:
        return InfrastructureError(
            "the ranks ended, and what one of them said is no error of ours: "
            f"{plain(said[:MOST_SHOWN].decode(errors='replace')) or 'nothing'}; running again resumes from the "
            "checkpoint"
        )
    return RANK_ERRORS[told.code](plain(told.message)[:MOST_WORDS])


def result_of(said: bytes) -> TrainResult:
    """The result that the ranks told. Raises ``InfrastructureError`` for what is none."""
    try:
        return parse_result(said)
    except (ValueError, TypeError, RecursionError) as error:
        words = plain(str(error))[:MOST_SHOWN].replace("\n", " ")
        raise InfrastructureError(
            f"the ranks told a result that is none: {words}; running again resumes from the checkpoint"
        ) from error


def attempt_error(job: TrainJob, code: int) -> RatchetError:
    """What a rank said, or what the end of the log says."""
    scratch, meet = Path(job.scratch), job.rendezvous
    preempted, said, log = scratch / "preempted", scratch / ERROR, scratch / LOG
    if code == PREEMPTED and preempted.is_file():
        left = read_handed_back(preempted, most_bytes=MOST_SAID).decode(errors="replace")
        return PreemptedError(f"{plain(left)[:MOST_WORDS]}; running again resumes from it")
    if said.is_file():
        return error_of(read_handed_back(said, most_bytes=MOST_SAID))
    text = read_handed_back(log, most_bytes=MOST_LOG).decode(errors="replace") if log.is_file() else ""
    if meet is not None and NOBODY_CAME in text:
        return InfrastructureError(
            f"train.nodes: {job.train.nodes} are wanted and not all met at {meet.endpoint} within "
            f"{meet.wait_seconds:.0f} s; start `ratchet join` on the others"
        )
    if meet is not None and TAKEN.search(text) and job.train.nodes > 1:
        return InfrastructureError(
            f"rendezvous port {meet.endpoint} is taken by another process; set RATCHET_RENDEZVOUS_PORT to a free one, "
            "or to 0 for any"
        )
    if KILLED.search(text):
        text += (
            f"\nError: a rank was killed (SIGKILL) more than {job.train.max_restarts} times; when nobody did it, the "
        )
        text += "kernel had no memory left: raise train.accumulation, lower train.processes or the batch"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    stalls = [line for line in lines if line.startswith("StallError")]  # what it breaks in its rank comes after it
    last = next((line for line in reversed(stalls or lines) if "Error" in line), lines[-1] if lines else "no output")
    return InfrastructureError(
        f"the ranks ended with code {code}: {plain(last[:MOST_SHOWN])}; running again resumes from the checkpoint"
    )
