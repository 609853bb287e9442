"""Random inputs of a loss in float64, hard ones included, and comparison of losses and gradients."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from grpokit.algorithms import Composition, group_zscore, sequence_mean
from grpokit.spec.flow import LossInputs, LossTotals

ROWS, TOKENS, MAX_TOKENS = 6, 9, 12
DRAWS = range(50)


@dataclass
class Draw:
    """Stale log-probs; the last row is wholly masked, the others are ragged.

    Every third draw is close to the policy, every third far from it, and every third has single
    ratios of up to e^6.
    """

    logprobs_NT: Tensor
    old_NT: Tensor
    ref_NT: Tensor
    sampler_NT: Tensor
    advantages_N: Tensor
    mask_NT: Tensor


def draw(seed: int) -> Draw:
    rng = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng, dtype=torch.float64)

    logprobs_NT = -normal(ROWS, TOKENS).abs() * 2 - 0.1
    old_NT = logprobs_NT + (0.1, 0.5, 0.3)[seed % 3] * normal(ROWS, TOKENS)
    if seed % 3 == 2:
        far_NT = torch.rand(ROWS, TOKENS, generator=rng) < 0.15
        jump_NT = (torch.rand(ROWS, TOKENS, generator=rng, dtype=torch.float64) * 2 - 1) * 6
        old_NT = torch.where(far_NT, logprobs_NT + jump_NT, old_NT)
    lengths_N = torch.randint(1, TOKENS + 1, (ROWS,), generator=rng)
    lengths_N[0], lengths_N[-1] = TOKENS, 0
    advantages_N = normal(ROWS)
    advantages_N[1] = 0.0
    advantages_N[2:4] = torch.tensor([1.3, -1.1])
    return Draw(
        logprobs_NT=logprobs_NT,
        old_NT=old_NT,
        ref_NT=logprobs_NT + 0.6 * normal(ROWS, TOKENS),
        sampler_NT=old_NT + 0.2 * normal(ROWS, TOKENS),
        advantages_N=advantages_N,
        mask_NT=(torch.arange(TOKENS) < lengths_N[:, None]).double(),
    )


def compose(**parts: Any) -> Composition:
    """GRPO's aggregation and plain choices, with other parts."""
    from grpokit.algorithms import clip_ratio

    return Composition(
        **{
            "advantage": group_zscore,
            "clip": clip_ratio,
            "aggregation": sequence_mean,
            **parts,
        }
    )


def inputs(found: Draw, rows: int = ROWS) -> LossInputs:
    """The draw as inputs whose log-probs ask for a gradient. ``rows``: what row means divide by."""
    return LossInputs(
        logprobs_NT=found.logprobs_NT.clone().requires_grad_(),
        old_logprobs_NT=found.old_NT,
        ref_logprobs_NT=found.ref_NT,
        sampler_logprobs_NT=found.sampler_NT,
        entropy_NT=None,
        advantages_N=found.advantages_N,
        weights_N=torch.ones(ROWS, dtype=torch.float64),
        truncated_N=torch.zeros(ROWS, dtype=torch.bool),
        mask_NT=found.mask_NT,
        totals=LossTotals(rows=rows, tokens=int(found.mask_NT.sum()), max_tokens=MAX_TOKENS),
    )


def ours(algorithm: Composition, given: LossInputs) -> tuple[Tensor, Tensor]:
    """Loss and gradient by log-probs."""
    given = dataclasses.replace(
        given, logprobs_NT=given.logprobs_NT.detach().clone().requires_grad_()
    )
    loss = algorithm.loss(given).loss
    (gradient_NT,) = torch.autograd.grad(loss, given.logprobs_NT)
    return loss.detach(), gradient_NT


def check(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor], name: str) -> None:
    """Equal to 1e-6 of their size in loss and gradient."""
    for mine, theirs, what in zip(found, expected, ("loss", "gradient"), strict=True):
        assert bool(mine.isfinite().all()), (name, what)
        torch.testing.assert_close(
            mine, theirs, rtol=1e-6, atol=1e-6, msg=lambda m, w=what: f"{name}: {w}: {m}"
        )
