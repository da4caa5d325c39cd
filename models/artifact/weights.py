"""Weights that somebody brings: a `.pth` file with a state dict, read without executing anything in it."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from mlratchet.models.errors import DataError, SecurityError
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.ports.storage import ObjectStore
from safetensors import SafetensorError
from safetensors.torch import load_file, save

WRAPPERS = ("state_dict", "model_state_dict", "model")  # under which training scripts put it


def initial_weights_key(sha256: str) -> str:
    """Where imported weights are."""
    return f"weights/{sha256}.safetensors"


def read_state_dict(file: Path) -> dict[str, torch.Tensor]:
    """Name -> tensor of a file written with ``torch.save(module.state_dict(), file)``, or of a safetensors file.

    Read with ``weights_only=True``. Raises ``SecurityError`` for a file that holds anything but tensors and plain
    values, ``DataError`` for one that cannot be read or holds no state dict.
    """
    try:
        if file.suffix == ".safetensors":
            return dict(load_file(file))
        with file.open("rb") as source:
            if not source.read(2).startswith((b"PK", b"\x80")):
                raise ValueError("neither a zip archive nor a pickle, as torch.save writes them")
        held = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as exc:
        raise SecurityError(
            f"{file}: a pickled model: it holds more than tensors and is not executed; "
            "save `module.state_dict()` instead of the module"
        ) from exc
    except (OSError, RuntimeError, EOFError, ValueError) as exc:
        raise DataError(f"{file}: cannot be read as weights: {str(exc).splitlines()[0][:200]}") from exc
    except SafetensorError as exc:
        raise DataError(f"{file}: cannot be read as weights: {str(exc)[:200]}") from exc
    for name in WRAPPERS:
        if isinstance(held, dict) and isinstance(held.get(name), dict):
            held = held[name]
            break
    tensors = {str(k): v for k, v in held.items() if isinstance(v, torch.Tensor)} if isinstance(held, dict) else {}
    if not tensors:
        raise DataError(f"{file}: holds no state dict; write it with `torch.save(module.state_dict(), {file.name!r})`")
    broken = sorted(name for name, t in tensors.items() if t.is_floating_point() and not bool(torch.isfinite(t).all()))
    if broken:
        raise DataError(f"{file}: tensor {broken[0]} holds NaN or infinity; bring weights of an earlier step")
    return tensors


def import_weights(store: ObjectStore, file: Path) -> tuple[str, dict[str, torch.Tensor]]:
    """Publish a file's weights as safetensors; returns (digest, tensors)."""
    tensors = read_state_dict(file)
    data = save({name: tensor.contiguous().clone() for name, tensor in tensors.items()})
    sha256 = digest_bytes(data)
    store.create(initial_weights_key(sha256), data)
    return sha256, tensors
