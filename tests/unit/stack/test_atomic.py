"""A file of the home folder is whole, whoever writes it at the same moment."""

from __future__ import annotations

import errno
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from mlratchet.infra.machine.atomic import write_atomically, write_private

WRITERS = 8


@pytest.mark.parametrize("write", [write_atomically, write_private])
def test_those_who_write_at_once_all_end_well_and_the_file_is_one_of_theirs(
    write: Callable[[Path, bytes], None], tmp_path: Path
) -> None:
    file, at_once = tmp_path / "told.json", Barrier(WRITERS)
    of = [bytes([65 + writer]) * (1000 * (writer + 1)) for writer in range(WRITERS)]

    def written(writer: int) -> set[bytes]:
        at_once.wait()
        seen = set()
        for _ in range(50):
            write(file, of[writer])
            seen.add(file.read_bytes())
        return seen

    with ThreadPoolExecutor(WRITERS) as pool:
        seen = set[bytes]().union(*pool.map(written, range(WRITERS)))
    assert seen <= set(of)
    assert [found.name for found in tmp_path.iterdir()] == ["told.json"]


def test_what_could_not_be_written_leaves_the_file_as_it_was_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    write_private(file, b"first")
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"first", 0o600)

    def full(self: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_private(file, b"second")
    assert file.read_bytes() == b"first"
    assert [found.name for found in tmp_path.iterdir()] == ["key"]
