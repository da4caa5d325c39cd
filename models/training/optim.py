"""Optimizers and schedules from configuration."""

from __future__ import annotations

import fnmatch
import importlib
import math
from typing import Any

import torch
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.training.config import OptimizerConfig, ParameterGroup, ScheduleConfig
from torch import nn

ONE_CYCLE_START, ONE_CYCLE_END = 1 / 25, 1e-4  # of the peak; those of torch.optim.lr_scheduler.OneCycleLR, about


def parameter_groups(config: OptimizerConfig, module: nn.Module) -> list[dict[str, Any]]:
    """Groups with `factor`, times which they take the scheduled rate. Freezes those of factor 0.

    Raises ``ConfigurationError`` for a pattern that matches no parameter, and when nothing is left to train.
    """
    rest = ParameterGroup(match="*")
    members: dict[int, list[nn.Parameter]] = {}
    patterns = [*config.groups, rest]
    for name, parameter in module.named_parameters():
        at = next(i for i, group in enumerate(patterns) if fnmatch.fnmatchcase(name, group.match))
        if patterns[at].learning_rate_factor == 0:
            parameter.requires_grad_(False)
        members.setdefault(at, []).append(parameter)
    for at, group in enumerate(config.groups):
        if at not in members:
            names = ", ".join(name for name, _ in list(module.named_parameters())[:8])
            raise ConfigurationError(
                f"train.optimizer.groups: no parameter is left for {group.match!r}; this model has {names}"
            )
    groups: list[dict[str, Any]] = []
    for at in sorted(members):
        trained = [p for p in members[at] if p.requires_grad]
        if trained:
            decay = patterns[at].weight_decay
            groups.append(
                {
                    "params": trained,
                    "factor": patterns[at].learning_rate_factor,
                    "weight_decay": config.weight_decay if decay is None else decay,
                }
            )
    if not groups:
        raise ConfigurationError("train.optimizer.groups: every parameter is frozen; leave one to train")
    return groups


def build_optimizer(config: OptimizerConfig, module: nn.Module, *, device: str = "cpu") -> torch.optim.Optimizer:
    """Over the parameters that are not frozen. Fused kernels where torch has them."""
    groups = parameter_groups(config, module)
    rate, decay = config.learning_rate, config.weight_decay
    if config.factory is not None:
        return _from_factory(config.factory, groups, rate, decay)
    fused = device in ("cpu", "cuda") and all(p.is_floating_point() for g in groups for p in g["params"])
    match config.name or "adamw":
        case "sgd":
            return torch.optim.SGD(groups, lr=rate, momentum=config.momentum, fused=fused)
        case "adam":
            return torch.optim.Adam(groups, lr=rate, fused=fused)
        case "adagrad":
            return torch.optim.Adagrad(groups, lr=rate)
        case "rmsprop":
            return torch.optim.RMSprop(groups, lr=rate, momentum=config.momentum)
        case _:
            return torch.optim.AdamW(groups, lr=rate, fused=fused)


def _from_factory(use: str, groups: list[dict[str, Any]], rate: float, decay: float) -> torch.optim.Optimizer:
    module_name, _, name = use.partition(":")
    try:
        made = getattr(importlib.import_module(module_name), name)(groups, rate, decay)
    except (ImportError, AttributeError, TypeError) as exc:
        raise ConfigurationError(
            f"train.optimizer.factory {use!r}: {exc}; expected function(groups, learning_rate, weight_decay)"
        ) from exc
    if not isinstance(made, torch.optim.Optimizer):
        raise ConfigurationError(f"train.optimizer.factory {use!r}: got {type(made).__name__}, expected an Optimizer")
    return made


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The scheduled rate, times each group's factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("factor", 1.0)


def learning_rate(peak: float, config: ScheduleConfig, *, step: int, total: int, per_epoch: int) -> float:
    """The rate of global step `step` (0-based) of `total`."""
    warmup = int(config.warmup_fraction * total)
    if step < warmup:
        if config.name == "one_cycle":  # Smith & Topin, 2018, with cosine annealing
            rise = 0.5 * (1 - math.cos(math.pi * step / warmup))
            return peak * (ONE_CYCLE_START + (1 - ONE_CYCLE_START) * rise)
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    fall = 0.5 * (1 + math.cos(math.pi * progress))
    if config.name == "cosine":
        return peak * fall
    if config.name == "one_cycle":
        return peak * (ONE_CYCLE_END + (1 - ONE_CYCLE_END) * fall)
    if config.name == "step":
        decays = (step // per_epoch) // config.step_epochs
        return float(peak * config.step_factor**decays)
    return peak
