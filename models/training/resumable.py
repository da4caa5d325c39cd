"""Whether a resumed training is the one that was not interrupted: to the last bit, or with what was lost, by name."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.training.forward_lines import class_line
from mlratchet.models.training.state import TrainingState
from torch import nn

OF_EVERY_MODULE = frozenset(vars(nn.Module()))
OF_EVERY_OPTIMIZER = frozenset(vars(torch.optim.SGD([nn.Parameter(torch.zeros(1))]))) | {"_step_count"}
PLAIN = (bool, int, float, str, torch.Tensor)


def check_resumed(whole: TrainingState, resumed: TrainingState) -> None:
    """Raises ``ConfigurationError`` for state that a checkpoint does not hold, and for weights that differ."""
    for problem in (*lost_buffers(whole), *lost_attributes(whole, resumed)):
        raise ConfigurationError(problem)
    ours, theirs = whole.final_tensors(), resumed.final_tensors()
    differ = [name for name, tensor in ours.items() if not same(tensor, theirs[name])]
    if differ and whole.config.mode == "exact":
        raise ConfigurationError(
            f"{class_line(type(whole.workload))}: a killed training would go on to other weights than one that was "
            f"not ({differ[0]} differs after a resume): something draws random numbers from elsewhere than torch's "
            "generator and the rng of augment, or keeps state outside buffers and the optimizer's groups; change it, "
            "or write train.mode: fast"
        )


def lost_buffers(whole: TrainingState) -> Iterator[str]:
    """Buffers that training changes and no weights hold."""
    held = set(whole.module.state_dict())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(whole.config.seed)
        fresh = dict(whole.workload.prepared_model().named_buffers())
    for name, buffer in whole.module.named_buffers():
        if name not in held and name in fresh and not same(buffer.cpu(), fresh[name]):
            yield (
                f"{class_line(type(whole.workload))}: buffer {name} is changed by training and is in no weights: a "
                "resume and the served model would not have it; register_buffer(..., persistent=True)"
            )


def lost_attributes(whole: TrainingState, resumed: TrainingState) -> Iterator[str]:
    """Numbers and tensors that are attributes, of a layer or of the optimizer, and begin anew after a resume."""
    pairs = [("optimizer", whole.optimizer, resumed.optimizer, OF_EVERY_OPTIMIZER)]
    others = dict(resumed.module.named_modules())
    pairs += [
        (f"layer {name or 'model'}", layer, others[name], OF_EVERY_MODULE)
        for name, layer in whole.module.named_modules()
        if name in others
    ]
    for where, ours, theirs, known in pairs:
        for name, value in plain(vars(ours), known).items():
            other = vars(theirs).get(name)
            if not same(value, other):
                place = "its param_groups or state" if where == "optimizer" else "a buffer (register_buffer)"
                yield (
                    f"{class_line(type(ours))}: {where} keeps {name} as an attribute, which is {shown(value)} after "
                    f"three steps and {shown(other)} when the training was resumed: no checkpoint holds it; keep it in "
                    f"{place}"
                )


def plain(attributes: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """Those that are values."""
    return {name: one for name, one in attributes.items() if name not in known and isinstance(one, PLAIN)}


def same(ours: Any, theirs: Any) -> bool:
    """To the last bit."""
    if isinstance(ours, torch.Tensor) and isinstance(theirs, torch.Tensor):
        if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
            return False
        equal = ours.detach().cpu() == theirs.detach().cpu()
        if ours.is_floating_point():
            equal |= ours.detach().cpu().isnan() & theirs.detach().cpu().isnan()
        return bool(equal.all())
    if isinstance(ours, float) and isinstance(theirs, float) and math.isnan(ours) and math.isnan(theirs):
        return True
    return type(ours) is type(theirs) and bool(ours == theirs)


def shown(value: Any) -> str:
    """For a message."""
    return f"a tensor of shape {list(value.shape)}" if isinstance(value, torch.Tensor) else repr(value)[:40]
