"""A file of the home folder is whole, whoever writes it at the same moment."""

from __future__ import annotations

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


def test_what_a_killed_writer_left_neither_lets_others_read_nor_stays(tmp_path: Path) -> None:
    file, left = tmp_path / "key", tmp_path / "key.part"
    left.write_bytes(b"x" * 100)
    left.chmod(0o644)
    reader = left.open("rb")  # of somebody who waits for what comes
    write_private(file, b"secret")
    with reader:
        assert b"secret" not in reader.read()
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"secret", 0o600)
    assert not left.exists()
    left.write_bytes(b"x" * 100)
    write_atomically(file, b"short")
    assert file.read_bytes() == b"short"
