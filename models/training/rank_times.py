"""How busy each rank was in an epoch: what shows that one of them is slower than the others."""

from __future__ import annotations

import statistics

import torch
import torch.distributed as dist


def rank_times(busy_s: float, *, world: int, device: torch.device) -> dict[str, float]:
    """Of one epoch, the same on every rank: `slowest_rank` (its number), the seconds that it worked, and the median of
    all. Time in which a rank waited for others is not part of it. Empty for one rank."""
    if world == 1:
        return {}
    mine = torch.tensor([busy_s], dtype=torch.float64, device=device)
    all_ranks = [torch.zeros_like(mine) for _ in range(world)]
    dist.all_gather(all_ranks, mine)
    return slowest_of([float(one.item()) for one in all_ranks])


def slowest_of(busy_s: list[float]) -> dict[str, float]:
    """The facts of one epoch, from the seconds of each rank."""
    slowest = max(range(len(busy_s)), key=busy_s.__getitem__)
    return {
        "slowest_rank": float(slowest),
        "slowest_rank_seconds": busy_s[slowest],
        "median_rank_seconds": statistics.median(busy_s),
    }
