"""What of the hardware decides the bits, and how a rank is set up for it."""

from __future__ import annotations

import platform

import torch
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.training.config import TrainConfig


def hardware_kind(device: torch.device, config: TrainConfig) -> str:
    """Two machines of the same kind compute the same bits."""
    if device.type == "cuda":
        return f"cuda/{torch.cuda.get_device_name(device)}"
    return f"cpu/{platform.machine()}/{torch.backends.cpu.get_cpu_capability()}/{config.threads_per_process} threads"


def prepare_device(device: torch.device, config: TrainConfig) -> None:
    """Threads, and deterministic kernels where the mode is exact. Raises ``ConfigurationError``."""
    if config.precision == "fp16" and device.type != "cuda":
        raise ConfigurationError("train.precision: fp16 needs a GPU; write bf16 or fp32")
    torch.set_num_threads(config.threads_per_process)
    if config.mode == "exact" and device.type == "cuda":
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
