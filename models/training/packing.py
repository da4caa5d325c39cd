"""Host buffers that are safetensors files: filled again and again, hashed and uploaded without another copy."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mlratchet.models.errors import ConfigurationError

PART_BYTES = 256 * 1024 * 1024  # a part is closed when it is as large
NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8",
    torch.bool: "BOOL",
}  # fmt: skip

Layout = tuple[tuple[str, torch.dtype, tuple[int, ...]], ...]


def refuse_unpackable(state: Mapping[str, Any]) -> None:
    """Raises ``ConfigurationError`` for what of a model's state is no tensor that a file of weights can hold."""
    for name, value in state.items():
        if isinstance(value, torch.Tensor) and value.dtype in NAMES and value.layout == torch.strided:
            continue
        what = str(value.dtype) if isinstance(value, torch.Tensor) else f"a {type(value).__name__}"
        raise ConfigurationError(
            f"the model's state has {name or 'an entry'}, {what}: neither a checkpoint nor the weights can hold it; "
            "keep tensors of real numbers in buffers (register_buffer), also what get_extra_state would give"
        )


def layout_of(tensors: Mapping[str, torch.Tensor]) -> Layout:
    """Names, types and shapes, widest type first so that every tensor is aligned."""
    found = [(name, t.dtype, tuple(t.shape)) for name, t in tensors.items()]
    return tuple(sorted(found, key=lambda item: (-item[1].itemsize, item[0])))


class PackedTensors:
    """One buffer with the bytes of a safetensors file (header, then tensors in order)."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        header: dict[str, dict[str, Any]] = {}
        at = 0
        for name, dtype, shape in layout:
            size = dtype.itemsize * torch.Size(shape).numel()
            header[name] = {"dtype": NAMES[dtype], "shape": list(shape), "data_offsets": [at, at + size]}
            at += size
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        self.data = bytearray(8 + len(text) + at)
        self.data[:8] = len(text).to_bytes(8, "little")
        self.data[8 : 8 + len(text)] = text
        self._views: dict[str, torch.Tensor] = {}
        for name, dtype, shape in layout:
            count = torch.Size(shape).numel()
            if count:
                start = 8 + len(text) + header[name]["data_offsets"][0]
                self._views[name] = torch.frombuffer(self.data, dtype=dtype, count=count, offset=start).view(shape)

    def fill(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Copy the values in; waits for a GPU."""
        for name, view in self._views.items():
            view.copy_(tensors[name].detach(), non_blocking=True)


def split_parts(tensors: Mapping[str, torch.Tensor]) -> Iterator[dict[str, torch.Tensor]]:
    """Into groups of about `PART_BYTES`, in order of their names."""
    group: dict[str, torch.Tensor] = {}
    size = 0
    for name in sorted(tensors):
        tensor = tensors[name]
        if group and size + tensor.nbytes > PART_BYTES:
            yield group
            group, size = {}, 0
        group[name] = tensor
        size += tensor.nbytes
    yield group
