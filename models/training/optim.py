"""Optimizers and schedules from configuration."""

from __future__ import annotations

import math

import torch
from mlratchet.models.training.config import OptimizerConfig, ScheduleConfig
from torch import nn


def build_optimizer(config: OptimizerConfig, module: nn.Module) -> torch.optim.Optimizer:
    """Over the parameters that require gradients."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    if config.name == "sgd":
        return torch.optim.SGD(
            parameters, lr=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay
        )
    return torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)


def learning_rate(peak: float, config: ScheduleConfig, *, step: int, total: int, per_epoch: int) -> float:
    """The rate of global step `step` (0-based) of `total`."""
    warmup = int(config.warmup_fraction * total)
    if step < warmup:
        return peak * (step + 1) / warmup
    if config.name == "cosine":
        progress = (step - warmup) / max(1, total - warmup)
        return peak * 0.5 * (1 + math.cos(math.pi * progress))
    if config.name == "step":
        decays = (step // per_epoch) // config.step_epochs
        return float(peak * config.step_factor**decays)
    return peak
