"""Named algorithms that look at lengths or references, filter, or begin anew in the course of a run."""

from __future__ import annotations

from grpokit.algorithms import gpg, lengthwise, offline, quantile, step_parts, token_clip
from grpokit.algorithms.aggregation import sequence_mean, sequence_sum, token_mean
from grpokit.algorithms.compose import Composition
from grpokit.algorithms.further_config import OpenPipeConfig
from grpokit.algorithms.grpo import around, clip_of, ratio_of, zscore_of
from grpokit.algorithms.lengthwise_config import AdGfpoConfig, GfpoConfig, OpoConfig
from grpokit.algorithms.mask import completion_mask, finished_mask
from grpokit.algorithms.offline_config import RestEmConfig
from grpokit.algorithms.part_config import ClipConfig
from grpokit.algorithms.quantile_config import QrpoConfig
from grpokit.algorithms.select import drop_zero, keep_all

__all__ = ["ad_gfpo", "gfpo", "openpipe", "opo", "qrpo", "rest_em"]

_SUMS = {
    "token-mean": token_mean,
    "sequence-mean": sequence_mean,
    "sequence-sum": sequence_sum,
}


def gfpo(config: GfpoConfig) -> Composition:
    """GFPO (arXiv 2508.09726): many samples, and only the best by length or total a token teach.

    L = -sum_it [min(w A_i, clip(w) A_i) - beta k3 + alpha H] / sum_i L_i, A_i = 0 outside the kept ones

    The sum of lengths is over the whole group. ``denominator`` kept leaves the others out wholly.
    """
    return around(
        config,
        advantage=lengthwise.group_filter(config),
        selector=lengthwise.filtered_rows(config) if config.denominator == "kept" else keep_all,
        ratio=ratio_of(config),
        clip=clip_of(config),
        aggregation=token_mean,
    )


def ad_gfpo(config: AdGfpoConfig) -> Composition:
    """Adaptive-difficulty GFPO (arXiv 2508.09726): hard groups keep more completions than easy ones."""
    return around(
        config,
        advantage=lengthwise.adaptive_filter(config),
        ratio=ratio_of(config),
        clip=clip_of(config),
        aggregation=token_mean,
    )


def opo(config: OpoConfig) -> Composition:
    """OPO (arXiv 2505.23585): A_i = r_i - sum_j L_j r_j / sum_j L_j, no deviation and no penalties.

    The paper stays on policy: one optimiser step a rollout batch.
    """
    return around(
        config,
        advantage=lengthwise.length_weighted_baseline(),
        ratio=ratio_of(config),
        clip=clip_of(config),
        aggregation=token_mean,
    )


def qrpo(config: QrpoConfig) -> Composition:
    """QRPO (arXiv 2507.08068): the policy's log-ratio to the reference is fitted to quantile rewards.

    L = 1/N sum_i (R_i - beta log Z - beta log(pi / pi_ref))^2

    R_i is the quantile of the reward among those of the reference (``against: column``, the paper) or of
    the group, which follows the policy.
    """
    return Composition(
        advantage=quantile.quantile(config),
        selector=quantile.scored(),
        clip=quantile.regression(config),
        mask=finished_mask if config.mask_truncated else completion_mask,
        aggregation=sequence_mean,
    )


def rest_em(config: RestEmConfig) -> Composition:
    """ReST-EM (arXiv 2312.06585): fine-tune the loaded model on right answers, again and again.

    L = -sum_it log pi / sum_i L_i over at most ``cap`` right completions a prompt

    The rollout is the policy's; the update begins at the model as it was loaded, with a fresh optimiser.
    """
    return Composition(
        advantage=offline.threshold(config),
        selector=offline.positive(config),
        clip=gpg.log_prob(),
        aggregation=_SUMS[config.aggregation],
        reset=step_parts.restart(config),
    )


def openpipe(config: OpenPipeConfig) -> Composition:
    """GRPO as in OpenPipe's deductive-reasoning: nothing teaches when to stop, nor without advantage."""
    clip = ClipConfig(epsilon=config.epsilon, epsilon_high=config.epsilon_high, delta=config.delta)
    return around(
        config,
        advantage=zscore_of(config),
        selector=drop_zero,
        ratio=ratio_of(config),
        clip=token_clip.spare_end(clip),
        aggregation=sequence_mean,
    )
