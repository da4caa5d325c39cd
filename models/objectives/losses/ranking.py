"""Losses of rankings.

The target of a ranking loss is (B, 2): the relevance, and the number of the row's query within the batch. Rows of a
query stand together.

Shape legend: B rows, Q queries, M rows of the longest query.
"""

from __future__ import annotations

import torch


def _by_query(output: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scores (-inf where there is no row), relevance and mask, each (Q, M)."""
    score_B = output.reshape(len(target)).float()
    _, query_B, sizes_Q = torch.unique_consecutive(target[:, 1], return_inverse=True, return_counts=True)
    start_Q = sizes_Q.cumsum(0) - sizes_Q
    place_B = torch.arange(len(target), device=target.device) - start_Q[query_B]
    shape = (len(sizes_Q), int(sizes_Q.max()))
    score_QM = score_B.new_full(shape, -torch.inf).index_put((query_B, place_B), score_B)
    relevance_QM = torch.zeros(shape, device=target.device).index_put((query_B, place_B), target[:, 0])
    mask_QM = torch.arange(shape[1], device=target.device) < sizes_Q[:, None]
    return score_QM, relevance_QM, mask_QM


def listwise(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """ListNet's top-one cross entropy (Cao et al., 2007): softmax of the relevance against softmax of the scores.

    The mean over rows of the loss of their query.
    """
    score_QM, relevance_QM, mask_QM = _by_query(output, target)
    wanted_QM = relevance_QM.masked_fill(~mask_QM, -torch.inf).softmax(dim=1)
    log_p_QM = score_QM.log_softmax(dim=1).masked_fill(~mask_QM, 0.0)
    return (-(wanted_QM * log_p_QM).sum(dim=1) * mask_QM.sum(dim=1)).sum() / len(target)


def pairwise(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """RankNet (Burges et al., 2005): softplus(-(s_i - s_j)), mean over the pairs of a query with relevance i > j.

    The mean over rows of the loss of their query; a query without such a pair counts 0.
    """
    score_QM, relevance_QM, mask_QM = _by_query(output, target)
    score_QM = score_QM.masked_fill(~mask_QM, 0.0)
    pairs_QMM = (relevance_QM[:, :, None] > relevance_QM[:, None, :]) & mask_QM[:, :, None] & mask_QM[:, None, :]
    each_QMM = torch.nn.functional.softplus(score_QM[:, None, :] - score_QM[:, :, None]) * pairs_QMM
    of_query_Q = each_QMM.sum(dim=(1, 2)) / pairs_QMM.sum(dim=(1, 2)).clamp(min=1)
    return (of_query_Q * mask_QM.sum(dim=1)).sum() / len(target)
