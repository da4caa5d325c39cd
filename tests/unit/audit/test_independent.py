"""A program of under 80 lines, written from docs/gates.md alone, tells a good bucket from a tampered one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.signing import TrustedKeys

from tests.fixtures.stored_bucket import BUCKET_9309F01, STORE
from tests.unit.audit.conftest import World

VERIFIER = Path(__file__).parents[3] / "docs" / "examples" / "verify" / "verify.py"


class Copy:
    """Of a bucket and its artifacts in a folder, and the public list beside it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name, self.keys = folder, name, folder / "keys.json"

    @classmethod
    def of(cls, world: World, folder: Path) -> Copy:
        made = cls(folder, "digits")
        for bucket in (world.store, world.uploads):
            for info in bucket.list():
                made.write(f"{bucket.bucket}/{info.key}", bucket.get(info.key))
        made.trust(world.keys.trusted())
        return made

    def trust(self, keys: TrustedKeys) -> None:
        self.keys.write_text(keys.to_json())

    def write(self, key: str, data: bytes) -> None:
        file = self.folder / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    def contents(self) -> dict[Path, bytes]:
        return {file.relative_to(self.folder): file.read_bytes() for file in self.folder.rglob("*") if file.is_file()}

    def one(self, pattern: str) -> Path:
        return min(self.folder.glob(pattern))

    def verify(self) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", str(VERIFIER), str(self.folder), str(self.keys), self.name]
        return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture
def copy(world: World, tmp_path: Path) -> Copy:
    return Copy.of(world, tmp_path)


def test_it_is_short_and_knows_nothing_of_ratchet() -> None:
    text = VERIFIER.read_text()
    assert len(text.splitlines()) < 80
    assert "import mlratchet" not in text
    assert "from mlratchet" not in text


def test_a_good_bucket_is_good(copy: Copy, world: World) -> None:
    done = copy.verify()
    assert done.returncode == 0, done.stderr
    head = world.ledger.digests("digits")[-1]
    assert done.stdout.strip() == f"4 generations, champion version 3, head {head}"


def test_what_an_earlier_release_wrote_is_good(tmp_path: Path) -> None:
    buckets = tmp_path / "buckets"
    buckets.mkdir()
    for bucket in (BUCKET_9309F01 / "buckets").iterdir():
        (buckets / ("store" if bucket.name == STORE else bucket.name)).symlink_to(bucket)
    made = Copy(buckets, "sites")
    made.keys = BUCKET_9309F01 / "trusted-keys.json"
    done = made.verify()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("7 generations, champion version 4, head ")


def flip(file: Path) -> None:
    data = file.read_bytes()
    at = len(data) // 2
    file.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


def swap(copy: Copy) -> None:
    files = sorted(copy.folder.glob("store/ledger/digits/*"))
    kept = files[0].read_bytes()
    files[0].write_bytes(files[1].read_bytes())
    files[1].write_bytes(kept)


def reformat(copy: Copy) -> None:
    file = copy.one("store/ledger/digits/*")
    file.write_text(json.dumps(json.loads(file.read_bytes()), indent=1))


def resign(copy: Copy) -> None:
    """The signature of one decision beside another."""
    first, second = sorted((copy.folder / "store" / "signatures").glob("*/*"))[:2]
    second.write_bytes(first.read_bytes())


def another_registration(copy: Copy) -> None:
    """A genuine record, under the name of another work."""
    first, second = sorted((copy.folder / "store" / "registrations").iterdir())[:2]
    second.write_bytes(first.read_bytes())


def edit_registration(copy: Copy) -> None:
    file = copy.one("store/registrations/*")
    file.write_bytes(canonical_json({**json.loads(file.read_bytes()), "dataset_id": "another"}))


def revoke(copy: Copy) -> None:
    document = json.loads(copy.keys.read_text())
    document["keys"][0] |= {"revoked_s": 1.0}
    copy.keys.write_text(json.dumps(document))


def forget(copy: Copy) -> None:
    copy.trust(MemoryKeys().trusted())


def approvers(copy: Copy) -> None:
    document = json.loads(copy.keys.read_text())
    document["keys"][0] |= {"role": "approver"}
    copy.keys.write_text(json.dumps(document))


KINDS = (
    "ledger/digits", "decisions", "signatures/*", "policies", "evidence", "manifests", "registrations",
)  # fmt: skip
TAMPERED: dict[str, Callable[[Copy], None]] = {
    **{f"a bit of {kind}": lambda copy, kind=kind: flip(copy.one(f"store/{kind}/*")) for kind in KINDS},  # type: ignore[misc]
    **{f"{kind} removed": lambda copy, kind=kind: copy.one(f"store/{kind}/*").unlink() for kind in KINDS},  # type: ignore[misc]
    "a file of an artifact changed": lambda copy: flip(copy.one("uploads/1/models/m-1/artifacts/*")),
    "a file of an artifact removed": lambda copy: copy.one("uploads/1/models/m-1/artifacts/*").unlink(),
    "a file of an artifact added": lambda copy: copy.write("uploads/1/models/m-1/artifacts/code/x.py", b""),
    "entries swapped": swap,
    "an entry reformatted": reformat,
    "a signature of another decision": resign,
    "another work's registration": another_registration,
    "an edited registration": edit_registration,
    "a revoked key": revoke,
    "an unknown key": forget,
    "an approver's key": approvers,
}


def refused(done: subprocess.CompletedProcess[str], tampered: set[Path]) -> None:
    """In one line that names an object which was tampered with; of a list of keys, what it does not let one believe."""
    assert (done.returncode, done.stdout) == (1, "")
    words = done.stderr.strip()
    assert words.startswith("refused: "), words
    assert "\n" not in words
    named = [one for one in tampered if one.name in words or f"{one.parent}/" in words]
    assert named or (tampered == {Path("keys.json")} and "key" in words), (tampered, words)


@pytest.mark.parametrize("how", TAMPERED)
def test_a_tampered_bucket_is_refused(copy: Copy, how: str) -> None:
    before = copy.contents()
    TAMPERED[how](copy)
    refused(copy.verify(), {file for file, _ in before.items() ^ copy.contents().items()})
