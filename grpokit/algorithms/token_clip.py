"""Axis ``clip``: the clipped ratio on some of the tokens, nothing on the others. Denominators stay."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from grpokit.algorithms import axes
from grpokit.algorithms.axes import Clipped
from grpokit.algorithms.clip import clip_ratio
from grpokit.algorithms.part_config import ClipConfig
from grpokit.algorithms.token_config import ClipCovConfig, TopEntropyConfig
from grpokit.algorithms.token_mask import is_last
from grpokit.spec.flow import LossInputs

__all__ = [
    "TopEntropy",
    "clip_cov",
    "cov_clip",
    "high_entropy",
    "spare_end",
    "spared_end",
    "top_entropy",
]


def cov_clip(
    ratio_NT: Tensor,
    advantages_N1: Tensor,
    inputs: LossInputs,
    *,
    share: float = 0.0002,
    low: float = 1.0,
    high: float = 5.0,
    epsilon: float = 0.2,
    epsilon_high: float | None = None,
) -> Clipped:
    """``clip_ratio`` without a few tokens of high covariance, drawn by lot (Clip-Cov, arXiv 2505.22617).

    drawn = max(1, floor(share n)) of the tokens with low < (A - mean A)(log pi - mean log pi) < high
            that the clip leaves alone, or all of them if they are fewer; their objective is 0

    Means and lot are those of the micro-batch of n tokens, as in verl, so the result depends on how the
    step is split. The lot is drawn from ``inputs.seed``. Share: ``covariant``, drawn tokens. Without a
    candidate it is ``clip_ratio``.
    """
    mask_NT = inputs.mask_NT
    clipped = clip_ratio(ratio_NT, advantages_N1, epsilon=epsilon, epsilon_high=epsilon_high)
    with torch.no_grad():
        count = int(mask_NT.sum())
        tokens = max(count, 1)
        advantage_mean = (advantages_N1 * mask_NT).sum() / tokens
        logprob_mean = (inputs.logprobs_NT * mask_NT).sum() / tokens
        cov_NT = (advantages_N1 - advantage_mean) * (inputs.logprobs_NT - logprob_mean)
        cut_NT = clipped.objective_NT < ratio_NT * advantages_N1
        open_NT = (cov_NT > low) & (cov_NT < high) & (mask_NT > 0) & ~cut_NT
        places = open_NT.flatten().nonzero().flatten()
        lot = torch.Generator().manual_seed(inputs.seed)
        order = torch.randperm(len(places), generator=lot).to(places.device)
        drawn = places[order[: max(1, int(share * count))]]
        drawn_NT = torch.zeros_like(open_NT).flatten().index_fill(0, drawn, True).view_as(open_NT)
    objective_NT = clipped.objective_NT.masked_fill(drawn_NT, 0.0)
    return Clipped(objective_NT, {**clipped.shares, "covariant": drawn_NT})


def high_entropy(entropy_NT: Tensor, mask_NT: Tensor, share: float) -> Tensor:
    """True at tokens whose entropy is at least the (1 - share) quantile of those that count."""
    known_M = entropy_NT[mask_NT > 0]
    if known_M.numel() == 0:
        return torch.zeros_like(mask_NT, dtype=torch.bool)
    ranked_M = known_M.sort().values
    place = (1 - share) * (known_M.numel() - 1)
    below = int(place)
    above = min(below + 1, known_M.numel() - 1)
    bound = torch.lerp(ranked_M[below], ranked_M[above], place - below)
    return (entropy_NT >= bound) & (mask_NT > 0)


@dataclass(frozen=True)
class TopEntropy:
    """``clip_ratio`` on the tokens of highest entropy alone (arXiv 2506.01939; TRL's top_entropy_quantile).

    objective = min(w A, clip(w) A) where H_t is at least the (1 - share) quantile, else 0

    Most tokens follow from those before; the few at which the policy has a choice carry the learning. The
    quantile is that of the micro-batch, as in TRL. Penalties act on all tokens. Share: ``high_entropy``.
    """

    share: float = 0.2
    epsilon: float = 0.2
    epsilon_high: float | None = None
    delta: float | None = None
    needs_entropy: bool = True

    def __call__(self, ratio_NT: Tensor, advantages_N1: Tensor, inputs: LossInputs, /) -> Clipped:
        if inputs.entropy_NT is None:
            raise ValueError("the top-entropy clip was given no entropies")
        clipped = clip_ratio(
            ratio_NT,
            advantages_N1,
            epsilon=self.epsilon,
            epsilon_high=self.epsilon_high,
            delta=self.delta,
        )
        gate_NT = high_entropy(inputs.entropy_NT.detach(), inputs.mask_NT, self.share)
        objective_NT = clipped.objective_NT.masked_fill(~gate_NT, 0.0)
        return Clipped(objective_NT, {**clipped.shares, "high_entropy": gate_NT})


def spared_end(
    ratio_NT: Tensor,
    advantages_N1: Tensor,
    inputs: LossInputs,
    *,
    epsilon: float = 0.2,
    epsilon_high: float | None = None,
    delta: float | None = None,
) -> Clipped:
    """``clip_ratio`` with advantage 0 at the last token of every completion (OpenPipe).

    It keeps the policy from unlearning when to stop. The token stays in every denominator and under every
    penalty. Degenerate: a completion of one token has no gradient of its objective.
    """
    advantages_NT = advantages_N1 * (1 - is_last(inputs.mask_NT))
    return clip_ratio(
        ratio_NT, advantages_NT, epsilon=epsilon, epsilon_high=epsilon_high, delta=delta
    )


def clip_cov(config: ClipCovConfig) -> axes.Clip:
    return partial(cov_clip, **dict(config))


def top_entropy(config: TopEntropyConfig) -> axes.Clip:
    return TopEntropy(config.share, config.epsilon, config.epsilon_high, config.delta)


def spare_end(config: ClipConfig) -> axes.Clip:
    return partial(spared_end, **dict(config))
