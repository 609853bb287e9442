"""Long runs with resets: ProRL and its second version."""

from __future__ import annotations

from grpokit.algorithms import advantage_parts, loss_parts
from grpokit.algorithms.aggregation import token_mean
from grpokit.algorithms.compose import Composition
from grpokit.algorithms.grpo import around, clip_of, ratio_of, zscore_of
from grpokit.algorithms.loss_config import RejectConfig
from grpokit.algorithms.prolonged_config import ProrlConfig, ProrlV2Config
from grpokit.algorithms.shaping import CosineLength, Cycle, StopProperly
from grpokit.algorithms.step_parts import dynamic_sampling, prolong

__all__ = ["prorl", "prorl_v2"]


def prorl(config: ProrlConfig) -> Composition:
    """ProRL (arXiv 2505.24864): DAPO with a divergence, whose reference is reset when training stalls.

    L = -sum_it [min(w A_i, clip(w, 1 - .2, 1 + .4) A_i) - beta k3] / sum_i L_i, over groups that differ

    Reference and optimiser begin anew when the conditions of ``prolong`` say so. From the paper: clip
    range, dynamic sampling, resets of both. Not in it: numbers for the conditions and for beta; patience
    is ours, beta that of the second version. Its temperature is 1.2, with 16 completions a prompt.
    """
    return around(
        config,
        advantage=zscore_of(config),
        allocator=dynamic_sampling(config),
        ratio=ratio_of(config),
        clip=clip_of(config),
        aggregation=token_mean,
        reset=prolong(config),
    )


def prorl_v2(config: ProrlV2Config) -> Composition:
    """ProRL's second version (its authors' page and their script for OpenRLHF, 2025).

    REINFORCE++-baseline over groups that differ, clip .2 and .27, k2 divergence of weight 1e-4, IcePop's
    mask where sampler and trainer disagree, a cosine score of the length in cycles of steps, and a share
    of the total for completions that did not stop. The order is: length first, then the share. Not
    compared with their code: how both are scaled, and when the cycle is on.
    """
    shaped = CosineLength(
        metric=config.metric,
        threshold=config.correct_at,
        weight=config.length_weight,
        active=Cycle(start=config.length_start, on=config.length_on, off=config.length_off),
    )
    bounds = RejectConfig(floor=config.mismatch_floor, cap=config.mismatch_cap)
    return around(
        config,
        aggregate=StopProperly(config.stop_coefficient, shaped),
        advantage=advantage_parts.reinforce_baseline(config),
        allocator=dynamic_sampling(config),
        ratio=ratio_of(config),
        clip=clip_of(config),
        correction=loss_parts.mask_token(bounds),
        aggregation=token_mean,
        reset=prolong(config),
    )
