"""How certain a policy is of each next token, without holding the logits of a batch.

Suffixes: N tokens, H hidden size, V vocabulary.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from grpokit.algorithms.logprobs import chunk_logits

__all__ = ["token_certainty"]


@torch.no_grad()
def token_certainty(
    hidden_NH: Tensor,
    weight_VH: Tensor,
    targets_N: Tensor,
    *,
    bias_V: Tensor | None = None,
    chunk: int = 256,
    softcap: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Log-probs of the targets, and KL(U || p) = logsumexp(z) - mean(z) - log V with U uniform over V.

    It is 0 for a uniform p and grows without bound as p loses mass anywhere: unlike the entropy it
    looks at the tokens that p does not want (arXiv 2505.19590). A logit of -inf makes it infinite.
    Arguments and number types are those of ``token_logprobs``; no gradients, temperature 1.
    """
    dtype = torch.promote_types(weight_VH.dtype, torch.float32)
    count = hidden_NH.shape[0]
    logprobs_N = torch.empty(count, dtype=dtype, device=hidden_NH.device)
    certainty_N = torch.empty_like(logprobs_N)
    hidden_NH = hidden_NH.to(weight_VH.dtype)
    with torch.autocast(hidden_NH.device.type, enabled=False):
        for start in range(0, count, chunk):
            rows = slice(start, start + chunk)
            z_NV, _ = chunk_logits(hidden_NH[rows], weight_VH, bias_V, 1.0, softcap)
            norm_N = z_NV.logsumexp(-1)
            logprobs_N[rows] = z_NV.gather(-1, targets_N[rows, None])[:, 0] - norm_N
            certainty_N[rows] = norm_N - z_NV.mean(-1) - math.log(z_NV.shape[-1])
    return logprobs_N, certainty_N
