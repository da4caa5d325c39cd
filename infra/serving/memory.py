"""What a swap leaves behind, given back: else a server grows with every champion that it has served.

A program that was loaded is a cycle of objects, and torch keeps parts of it in caches (measured: 0.4 MB a swap for a
model of 5,000 parameters, and the weights until the collector comes by, which it does seldom in our processes).
"""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress


def settle_imports() -> None:
    """Import what loading a program imports, and have the collector look at none of it again: a collection of the rest
    takes milliseconds. Before the first program is loaded."""
    import torch._dynamo
    import torch._export.serde.serialize
    import torch.fx.experimental.symbolic_shapes  # noqa: F401

    gc.collect()
    gc.freeze()


def give_back() -> None:
    """Free what nobody refers to but torch's caches and cycles, and hand free pages to the system."""
    with suppress(ImportError, AttributeError):  # names of torch's own inside; without them memory is only less flat
        from torch._subclasses.fake_tensor import FakeTensorMode
        from torch.fx.experimental.symbolic_shapes import ShapeEnv

        FakeTensorMode.cache_clear()
        for kept in vars(ShapeEnv).values():
            if hasattr(kept, "cache_clear"):
                kept.cache_clear()
    gc.collect()
    with suppress(OSError, AttributeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)
