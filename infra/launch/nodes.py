"""Trainings over several machines: the first node invites through the store, the others join.

nodes/<work key>-<epoch>/invitation.json   the job and where to meet; deleted at the end
nodes/<work key>-<epoch>/seat-<n>.json     taken by conditional create: as many as nodes are wanted beside the first
nodes/<work key>-<epoch>/error.json        what a rank of another node said before it ended
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from mlratchet.infra.child.handed_back import read_handed_back
from mlratchet.infra.child.lent_store import Lender
from mlratchet.infra.child.store_server import StoreServer
from mlratchet.infra.keys.files import InstalledKeys
from mlratchet.infra.launch.attempt import ERROR, MOST_SAID, Room, end_session, rights_of, start_agent
from mlratchet.infra.machine.hardware import check_hardware
from mlratchet.infra.machine.temporary import remove_abandoned_semaphores
from mlratchet.infra.settings import Settings
from mlratchet.infra.storage.opening import open_bucket
from mlratchet.models.errors import ConfigurationError, SecurityError
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.claim import claim_key
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.ports.storage import ObjectExists, ObjectNotFound, ObjectStore, StorageError
from mlratchet.models.printable import plain
from mlratchet.models.training.job import TrainJob
from mlratchet.models.training.result import find_result

POLL_S = 0.5  # seconds between two looks for an invitation
LOOK_S = 3.0  # seconds between two looks of the first node for what others said
INVITATION = "/invitation.json"


def folder_of(job: TrainJob) -> str:
    """Of an attempt."""
    return f"nodes/{job.work_key}-{job.epoch:06d}"


class Invitation:
    """The other nodes are told of the job while it runs."""

    def __init__(self, store: ObjectStore, job: TrainJob) -> None:
        self._store, self._job, self._folder = store, job, folder_of(job)
        self._next_look_s = 0.0
        self.said = b""

    def __enter__(self) -> Self:
        self._store.put(f"{self._folder}{INVITATION}", self._job.model_dump_json().encode())
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(StorageError):  # it is void once there is a result or a newer attempt
            for info in [*self._store.list(f"{self._folder}{INVITATION}"), *self._store.list(f"{self._folder}/")]:
                with suppress(ObjectNotFound):
                    self._store.delete(info.key)

    def somebody_failed(self, *, now: bool = False) -> bool:
        """Whether a rank of another node said why it cannot go on; asks the store every few seconds."""
        if now or time.monotonic() >= self._next_look_s:
            self._next_look_s = time.monotonic() + LOOK_S
            with suppress(ObjectNotFound):
                self.said = self._store.get(f"{self._folder}/{ERROR}")
        return bool(self.said)


def tell_first_node(store: ObjectStore, job: TrainJob, said: str) -> None:
    """What a rank of another node said before it ended: the first node hears it, and nobody tries again."""
    if job.rendezvous is not None and not job.rendezvous.first:
        with suppress(StorageError):
            store.put(f"{folder_of(job)}/{ERROR}", said.encode())


class Joiner:
    """Waits on a machine for trainings that want more nodes, and runs their ranks here."""

    def __init__(self, settings: Settings, scratch: Path, *, say: Callable[[str], None]) -> None:
        if settings.node_address.startswith("127."):
            say(f"note: RATCHET_NODE_ADDRESS is {settings.node_address}: only nodes on this machine can be met")
        self._settings, self._scratch, self._say = settings, scratch, say
        self._complaint = ""
        self._store = RecordStore(open_bucket(settings), InstalledKeys(settings))

    def run(self, *, trainings: int | None = None) -> None:
        """Until `trainings` have ended well here; for ever with None."""
        done = 0
        while trainings is None or done < trainings:
            job = None
            with suppress(StorageError):  # the store is away: it is asked again
                job = self._seated()
            if job is None:
                time.sleep(POLL_S)
            else:
                done += self._take_part(job)

    def _seated(self) -> TrainJob | None:
        """A job with a seat for this machine."""
        for info in list(self._store.list("nodes/")):
            if not info.key.endswith(INVITATION):
                continue
            try:
                job = TrainJob.model_validate_json(self._store.get(info.key))  # nothing is read that is not signed
                if (
                    info.key == f"{folder_of(job)}{INVITATION}"
                    and self._is_open(job)
                    and any(self._sit(job, number) for number in range(1, job.train.nodes))
                ):
                    return job
            except ObjectNotFound:
                continue
            except SecurityError as error:  # somebody left it there: the others stand
                self._complain(plain(error.line()))
        return None

    def _is_open(self, job: TrainJob) -> bool:
        """Whether the attempt is the newest and has no result: the first node may have died without a word."""
        overtaken = self._store.exists(claim_key(job.work_key, job.epoch + 1))
        return not overtaken and find_result(self._store, job.work_key) is None

    def _sit(self, job: TrainJob, number: int) -> bool:
        """A seat that this machine has had before is its own."""
        key, me = f"{folder_of(job)}/seat-{number}.json", {"address": self._settings.node_address}
        try:
            self._store.create(key, canonical_json(me))
        except ObjectExists:
            with suppress(ValueError, RecursionError):  # nobody signs a seat; what is none is taken
                return bool(json.loads(self._store.get(key)) == me)
            return False
        return True

    def _complain(self, words: str) -> None:
        """Once for as long as it is the same."""
        if words != self._complaint:
            self._complaint = words
            self._say(words)

    def _take_part(self, job: TrainJob) -> bool:
        """Run the ranks of this node; whether all ended well."""
        meet = job.rendezvous
        if meet is None:
            raise ConfigurationError(f"{folder_of(job)}{INVITATION} does not say where to meet")
        here = self._scratch / f"{job.work_key[:12]}-{job.epoch}-{time.time_ns()}"
        mine = meet.model_copy(update={"first": False, "address": self._settings.node_address})
        job = job.model_copy(update={"scratch": str(here), "rendezvous": mine})
        check_hardware(self._settings.home, self._store)
        self._say(f"joining {job.work_key[:12]}, attempt {job.epoch}, at {meet.endpoint}")
        with Room() as room, StoreServer(Lender(self._store, rights_of(job))) as served:
            job = job.model_copy(update={"bucket": self._store.bucket})
            agent = start_agent(job, self._settings, room, served.channel)
            try:
                while agent.poll() is None:
                    time.sleep(POLL_S)
            finally:
                end_session(agent)
                remove_abandoned_semaphores()
        said = here / ERROR
        if said.is_file():
            tell_first_node(self._store, job, read_handed_back(said, most_bytes=MOST_SAID).decode(errors="replace"))
        self._say(f"left {job.work_key[:12]} with code {agent.returncode}")
        return agent.returncode == 0
