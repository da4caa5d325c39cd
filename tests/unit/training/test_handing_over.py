"""What a loader worker hands over arrives bit by bit, aligned as torch aligns, and a worker that is gone is noticed."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from multiprocessing import reduction
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mlratchet.models.training import batches as steps
from mlratchet.models.training.handing_over import ALIGNMENT, InTransit, Passages, pack, unpack

KINDS = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)
SHAPES = st.lists(st.integers(0, 4), max_size=3).map(tuple)


@given(st.lists(st.tuples(SHAPES, st.sampled_from(KINDS), st.booleans()), max_size=6))
def test_a_step_comes_out_as_it_went_in(described: list[tuple[tuple[int, ...], torch.dtype, bool]]) -> None:
    made = []
    for shape, dtype, turned in described:
        one = (torch.arange(math.prod(shape)) % 7).reshape(shape).to(dtype)
        made.append(one.T if turned and one.dim() == 2 else one)
    step = (3, [({str(at): one}, one) for at, one in enumerate(made)])
    rows, shards = unpack(pack(step))
    assert rows == 3
    assert len(shards) == len(made)
    for at, (one, (x, y)) in enumerate(zip(made, shards, strict=True)):
        for came in (x[str(at)], y):
            assert came.dtype == one.dtype
            assert torch.equal(came, one)
            assert came.is_contiguous()
            assert came.numel() == 0 or came.data_ptr() % ALIGNMENT == 0


@pytest.mark.parametrize("foreign", [torch.eye(2).to_sparse(), torch.empty(2, device="meta")])
def test_a_tensor_without_bytes_here_is_refused(foreign: torch.Tensor) -> None:
    with pytest.raises(TypeError, match="no dense one of the CPU"):
        pack([foreign])


class Inherited:
    """As a spawned process gets it."""

    def __init__(self, descriptor: int) -> None:
        self._mine = os.dup(descriptor)

    def detach(self) -> int:
        return self._mine


def test_descriptors_arrive_in_order_and_a_worker_that_is_gone_is_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reduction, "DupFd", Inherited)
    with Passages(2) as passages:
        worker = Passages.__new__(Passages)
        worker.__setstate__(passages.__getstate__())
        passages.started()
        worker.take(1)
        read, write = os.pipe()
        first, second = reduction.DupFd(write), reduction.DupFd(read)
        assert isinstance(first, InTransit)
        os.close(read)
        os.close(write)
        got = first.detach()
        os.write(got, b"abc")
        os.close(got)
        got = second.detach()
        assert os.read(got, 3) == b"abc"
        os.close(got)
        with pytest.raises(EOFError, match="worker 0 is gone"):
            InTransit(0, 1).detach()
    with pytest.raises(BrokenPipeError):  # the rank iterates no more
        reduction.DupFd(0)


def test_workers_have_ended_before_their_passages_do(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []

    class Loader:
        def __iter__(self) -> Iterator[Any]:
            return self

        def __next__(self) -> Any:
            return pack(1)

        def _shutdown_workers(self) -> None:
            ended.append("workers")

    monkeypatch.setattr(steps, "DataLoader", lambda *_, **__: Loader())
    monkeypatch.setattr(Passages, "__exit__", lambda self, *_: (ended.append("passages"), self.close()))
    some: Any = SimpleNamespace(share=lambda: None)
    held = steps.batches(some, 0, 9, workers=1, pin=False)
    assert next(held) == 1  # type: ignore[comparison-overlap]
    held.close()  # type: ignore[attr-defined]  # an early stop

    assert ended == ["workers", "passages"]
