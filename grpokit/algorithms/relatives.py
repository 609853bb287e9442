"""GRPO's nearest relatives: each is GRPO with one or two other parts."""

from __future__ import annotations

from functools import partial

from grpokit.algorithms.advantage import group_centred
from grpokit.algorithms.aggregation import (
    constant_length,
    sequence_sum,
    token_mean_local,
)
from grpokit.algorithms.compose import Composition
from grpokit.algorithms.grpo import AGGREGATIONS, around, clip_of, ratio_of, zscore_of
from grpokit.algorithms.named_config import BnpoTrlConfig, DrGrpoConfig, GspoConfig, LuspoConfig
from grpokit.algorithms.ratio import sequence_ratio, sequence_token_ratio

__all__ = ["bnpo_trl", "dr_grpo", "gspo", "gspo_token", "luspo"]


def dr_grpo(config: DrGrpoConfig) -> Composition:
    """Dr. GRPO (arXiv 2503.20783): the advantage is not scaled, the length not divided by.

    A_i = r_i - mean r,   L = -sum_i sum_t min(w A_i, clip(w) A_i) / (N L_max)

    L_max is ``rollout.max_tokens``. ``denominator`` length leaves N out.
    """
    return around(
        config,
        advantage=group_centred,
        ratio=ratio_of(config),
        clip=clip_of(config),
        aggregation=partial(constant_length, denominator=config.denominator),
    )


def bnpo_trl(config: BnpoTrlConfig) -> Composition:
    """``loss_type="bnpo"`` of TRL and Unsloth: token mean over each micro-batch by itself.

    The loss depends on how a step is cut into micro-batches; with one row each it is GRPO's. The BNPO
    of arXiv 2506.02864 is another method, which changes the advantage.
    """
    return around(
        config,
        advantage=zscore_of(config),
        ratio=ratio_of(config),
        clip=clip_of(config),
        aggregation=token_mean_local,
    )


def gspo(config: GspoConfig) -> Composition:
    """Group sequence policy optimisation (arXiv 2507.18071): one ratio a completion.

    s_i = exp(1/L_i sum_t log w_it),   L = -1/N sum_i min(s_i A_i, clip(s_i) A_i)

    With one optimiser step a rollout batch it is GRPO; the paper takes four minibatches.
    """
    return around(
        config,
        advantage=zscore_of(config),
        ratio=ratio_of(config, sequence_ratio),
        clip=clip_of(config),
        aggregation=AGGREGATIONS[config.aggregation],
    )


def gspo_token(config: GspoConfig) -> Composition:
    """GSPO-token (arXiv 2507.18071): GSPO's ratio, written so that tokens could differ in advantage.

    s_it = sg[s_i] * pi_it / sg[pi_it]. With one advantage a completion its gradient is GSPO's.
    """
    return gspo(config).replace("ratio", ratio_of(config, sequence_token_ratio))


def luspo(config: LuspoConfig) -> Composition:
    """LUSPO (arXiv 2602.05261; the formula is TRL's): GSPO in which a completion weighs its length."""
    return around(
        config,
        advantage=zscore_of(config),
        ratio=ratio_of(config, sequence_ratio),
        clip=clip_of(config),
        aggregation=sequence_sum,
    )
