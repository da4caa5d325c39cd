"""A second program of under 80 lines, written from docs/gates.md alone, verifies the chains beside the ledger."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.erasures import ErasedObject, publish_erasure
from mlratchet.models.identity.signed_records import RecordStore, signed_record
from mlratchet.models.identity.signing import Signer
from mlratchet.models.pipeline.store import publish_deployment
from mlratchet.models.promotion.holds import HoldBook

from tests.unit.audit.conftest import World
from tests.unit.audit.test_independent import Copy, refused
from tests.unit.promotion.canaries import Canary

VERIFIER = Path(__file__).parents[3] / "docs" / "examples" / "verify" / "chains.py"
FOLDERS = ("deployments", "holds", "canary", "erasures")


@pytest.fixture
def copy(world: World, tmp_path: Path) -> Copy:
    """Three entries of each."""
    store, canary = RecordStore(world.store, world.keys), Canary(world)
    for number in (1, 2, 3):
        publish_deployment(store, "digits", f"{number:064x}", actor="ada", at_s=float(number))
        publish_erasure(
            store, "digits", objects=[ErasedObject(bucket="store", key=f"rows/{number}", before="b")], versions=[1],
            actor="ada", at_s=float(number),
        )  # fmt: skip
        HoldBook(store).place(
            "digits", finding=f"{number:064x}", kind="data", words="größer", actor="ada", at_s=float(number)
        )
        canary.put("shadow", began_s=world.now_s, expires_s=world.now_s + 3600.0)
    return Copy.of(world, tmp_path)


def verified(copy: Copy) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(VERIFIER), str(copy.folder), str(copy.keys), copy.name]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_it_is_short_and_knows_nothing_of_ratchet() -> None:
    text = VERIFIER.read_text()
    assert len(text.splitlines()) < 80
    assert "import mlratchet" not in text
    assert "from mlratchet" not in text


def test_good_chains_are_good(copy: Copy) -> None:
    done = verified(copy)
    assert (done.stdout.strip(), done.stderr) == ("3 deployments, 3 holds, 3 canary, 3 erasures", "")


def test_a_wrong_folder_is_no_good_chain(copy: Copy) -> None:
    """Nor a wrong name, of either program."""
    copy.name = "digit"
    for done in (verified(copy), copy.verify()):
        assert (done.returncode, done.stdout) == (1, "")
        assert "/store" in done.stderr


def entry(copy: Copy, folder: str, number: int) -> Path:
    return copy.folder / "store" / folder / "digits" / f"{number:08d}.json"


def edit(file: Path) -> None:
    file.write_bytes(canonical_json({**json.loads(file.read_bytes()), "actor": "mallory"}))


def by_a_stranger(copy: Copy, folder: str) -> None:
    held = json.loads(entry(copy, folder, 3).read_bytes())
    data = signed_record(held, f"{folder}/digits/00000003.json", Signer.generate(), at_s=1.0)
    entry(copy, folder, 3).write_bytes(data)


TAMPERED: dict[str, Callable[[Copy, str], object]] = {
    "edited": lambda copy, folder: edit(entry(copy, folder, 2)),
    "removed": lambda copy, folder: entry(copy, folder, 2).unlink(),
    "copied to the end": lambda copy, folder: entry(copy, folder, 4).write_bytes(entry(copy, folder, 3).read_bytes()),
    "swapped": lambda copy, folder: entry(copy, folder, 1).write_bytes(entry(copy, folder, 2).read_bytes()),
    "reformatted": lambda copy, folder: entry(copy, folder, 1).write_text(
        json.dumps(json.loads(entry(copy, folder, 1).read_bytes()), indent=1)
    ),
    "planted": lambda copy, folder: entry(copy, folder, 4).write_bytes(b"{}"),
    "by a stranger": by_a_stranger,
}


@pytest.mark.parametrize("folder", FOLDERS)
def test_tampered_chains_are_refused(copy: Copy, folder: str) -> None:
    kept = {number: entry(copy, folder, number).read_bytes() for number in (1, 2, 3)}
    for tamper in TAMPERED.values():
        before = copy.contents()
        tamper(copy, folder)
        refused(verified(copy), {file for file, _ in before.items() ^ copy.contents().items()})
        for file in entry(copy, folder, 1).parent.iterdir():
            file.unlink()
        for number, data in kept.items():
            entry(copy, folder, number).write_bytes(data)
