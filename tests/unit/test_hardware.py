"""Machines that would fail later are refused at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlratchet.infra.machine import hardware
from mlratchet.infra.machine.hardware import check_hardware, gpu_faults
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.errors import InfrastructureError


def test_a_sound_machine_passes(store: MemoryStore, tmp_path: Path) -> None:
    check_hardware(tmp_path, store)
    assert abs(hardware.clock_skew_s(store)) < 60


def test_a_full_disk_and_a_wrong_clock_are_refused(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "clock_skew_s", lambda store: -3600.0)
    with pytest.raises(InfrastructureError, match=r"clock: .* by -3600 s"):
        check_hardware(tmp_path, store)
    monkeypatch.setattr(hardware, "LEAST_DISK_BYTES", 2**60)
    with pytest.raises(InfrastructureError, match=r"disk: .* make room"):
        check_hardware(tmp_path, store)


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("0, NVIDIA H100, 80000, 40, 0", None),
        ("0, NVIDIA H100, 80000, 40, [N/A]", None),
        ("1, NVIDIA H100, 200, 40, 0", "200 MB of memory are free"),
        ("1, NVIDIA H100, 80000, 95, 0", "95 degrees"),
        ("1, NVIDIA H100, 80000, 40, 3", "3 uncorrected memory errors"),
    ],
)
def test_gpus_are_judged_by_what_nvidia_smi_says(row: str, fault: str | None) -> None:
    found = gpu_faults(row + "\n")
    assert len(found) == (fault is not None)
    if fault is not None:
        assert found[0].startswith("GPU 1 (NVIDIA H100): ")
        assert fault in found[0]
