"""What a power cut leaves of the files that wait: names without their bytes. The writer goes on behind them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from mlratchet.infra.inference_log.spool import LogSpool
from mlratchet.infra.inference_log.upload import Heads, Uploader
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.identity.canonical import digest_bytes

SOUNDS = b"first", b"second", b"third"


@pytest.mark.parametrize(
    ("suffix", "change"),
    [
        (".json", lambda file: file.write_bytes(b"")),
        (".json", lambda file: file.write_bytes(b'{"pipeline": "p"}')),
        (".json", lambda file: file.write_bytes(bytes(40))),
        (".data", lambda file: file.write_bytes(b"")),
        (".data", lambda file: file.write_bytes(bytes(len(SOUNDS[1])))),
        (".data", Path.unlink),
    ],
    ids=["empty entry", "half an entry", "zeros for an entry", "no bytes", "other bytes", "no data"],
)
def test_a_file_that_a_power_cut_spoilt_holds_up_none_behind_it(
    tmp_path: Path, suffix: str, change: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    folder, store = tmp_path / "spool", MemoryStore()
    spool = LogSpool(folder, most_bytes=1 << 20)
    for data in SOUNDS:
        spool.put("p", "answers", data, None, digest_bytes(data))
    change(folder / f"{2:012d}{suffix}")
    begun = LogSpool(folder, most_bytes=1 << 20)
    assert Uploader(begun, Heads(tmp_path / "heads"), store, MemoryKeys(), writer="w").upload_all()
    kept = [digest_bytes(data) for data in (SOUNDS[0], SOUNDS[2])]
    assert sorted(info.key.rpartition("/")[2].partition(".")[0] for info in store.list()) == sorted(kept)
    assert (list(begun.entries()), begun.size_bytes, list(folder.iterdir())) == ([], 0, [])
    assert "000000000002" in caplog.text
    begun.put("p", "answers", b"fourth", None, digest_bytes(b"fourth"))
    assert [one.digest for one in begun.entries()] == [digest_bytes(b"fourth")]
