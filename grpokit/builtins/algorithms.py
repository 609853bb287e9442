"""The parts of algorithms, as core registers them."""

from __future__ import annotations

from grpokit.api import AlgorithmSpec
from grpokit.builtins.named import NAMED

__all__ = ["SPECS"]

_PARTS = "grpokit.algorithms.parts:"
_CONFIGS = "grpokit.algorithms.part_config:"
_BOUNDS = "grpokit.algorithms.loss_config:BoundsConfig"

ADVANTAGES = (
    AlgorithmSpec(
        name="group-zscore",
        axis="advantage",
        min_group=2,
        summary="Distance from the group's mean in standard deviations.",
        target=_PARTS + "group_zscore",
        config=_CONFIGS + "ZscoreConfig",
        paper="2402.03300",
        formula="A_i = (r_i - mean r) / (std r + eps)",
    ),
    AlgorithmSpec(
        name="group-centred",
        axis="advantage",
        min_group=2,
        summary="Distance from the group's mean, unscaled (Dr. GRPO).",
        target=_PARTS + "group_centred",
        paper="2503.20783",
        formula="A_i = r_i - mean r",
    ),
)

ROWS_AND_TOKENS = (
    AlgorithmSpec(
        name="weighted-sum",
        axis="aggregate",
        summary="The weighted sum of the rewards that did not abstain.",
        target=_PARTS + "weighted_sum",
        formula="r = sum_k weight_k r_k",
    ),
    AlgorithmSpec(
        name="keep-all",
        axis="select",
        summary="Every completion trains, or at least counts in the denominators.",
        target=_PARTS + "keep_all",
    ),
    AlgorithmSpec(
        name="drop-zero",
        axis="select",
        summary="Completions with advantage 0 are left out, from the denominators too.",
        target=_PARTS + "drop_zero",
        formula="keep i if A_i != 0",
        excludes=tuple(
            (penalty, "it removes completions that this penalty would still train on")
            for penalty in ("kl", "entropy-bonus")
        ),
    ),
    AlgorithmSpec(
        name="completion-mask",
        axis="mask",
        summary="Every token of the completion counts.",
        target=_PARTS + "completion_mask",
    ),
    AlgorithmSpec(
        name="finished-mask",
        axis="mask",
        summary="Completions that ran into the length limit add no loss.",
        target=_PARTS + "finished_mask",
        paper="2503.14476",
    ),
)

OBJECTIVES = (
    AlgorithmSpec(
        name="token-ratio",
        axis="ratio",
        summary="Ratio of new to old policy, each token by itself.",
        target=_PARTS + "token_ratio",
        config=_BOUNDS,
        paper="1707.06347",
        formula="w_it = pi(o_it) / pi_old(o_it)",
    ),
    AlgorithmSpec(
        name="sequence-ratio",
        axis="ratio",
        summary="One ratio a completion: the geometric mean of its tokens' (GSPO).",
        target=_PARTS + "sequence_ratio",
        config=_BOUNDS,
        paper="2507.18071",
        formula="s_i = exp(1/L_i sum_t log w_it)",
        excludes=(
            (
                "constant-length",
                "a ratio of the whole completion would count once for each of its tokens",
            ),
        ),
    ),
    AlgorithmSpec(
        name="clip",
        axis="clip",
        summary="Clipped ratio: symmetric, asymmetric, or bounded on both sides.",
        target=_PARTS + "clip",
        config=_CONFIGS + "ClipConfig",
        paper="1707.06347",
        formula="min(min(w, delta) A, clip(w, 1-eps, 1+eps_high) A)",
    ),
    AlgorithmSpec(
        name="no-correction",
        axis="correction",
        summary="The mismatch of sampler and trainer is left alone.",
        target=_PARTS + "no_correction",
    ),
    AlgorithmSpec(
        name="truncate",
        axis="correction",
        summary="Truncated importance weight for the mismatch of sampler and trainer (TIS).",
        target=_PARTS + "truncate",
        config=_CONFIGS + "TruncateConfig",
        formula="min(pi_old / pi_sampler, cap)",
    ),
)

LOSSES = (
    AlgorithmSpec(
        name="no-regulariser",
        axis="regulariser",
        summary="Nothing beside the objective.",
        target=_PARTS + "no_regulariser",
    ),
    AlgorithmSpec(
        name="kl",
        axis="regulariser",
        summary="Divergence from the reference policy, estimated by k1, k2 or k3.",
        target=_PARTS + "kl",
        config=_CONFIGS + "KlConfig",
        paper="2402.03300",
        formula="beta (exp(x) - x - 1), x = log pi_ref - log pi",
    ),
    AlgorithmSpec(
        name="entropy-bonus",
        axis="regulariser",
        summary="Rewards a policy that keeps its options open.",
        target=_PARTS + "entropy_bonus",
        config=_CONFIGS + "EntropyConfig",
        formula="-coefficient H(pi)",
    ),
    AlgorithmSpec(
        name="sequence-mean",
        axis="aggregation",
        summary="Mean over completions of the mean over their tokens.",
        target=_PARTS + "sequence_mean",
        paper="2402.03300",
        formula="1/N sum_i 1/L_i sum_t l_it",
    ),
    AlgorithmSpec(
        name="token-mean",
        axis="aggregation",
        summary="Mean over all tokens of the optimiser step.",
        target=_PARTS + "token_mean",
        paper="2503.14476",
        formula="sum_i sum_t l_it / sum_i L_i",
    ),
    AlgorithmSpec(
        name="token-mean-local",
        axis="aggregation",
        summary="Mean over the tokens of each micro-batch; depends on how the step is split.",
        target=_PARTS + "token_mean_local",
        formula="per micro-batch: sum l / sum L",
    ),
    AlgorithmSpec(
        name="constant-length",
        axis="aggregation",
        summary="Sum over tokens by rows times the length limit (Dr. GRPO).",
        target=_PARTS + "constant_length",
        config="grpokit.algorithms.loss_config:LengthConfig",
        paper="2503.20783",
        formula="sum_i sum_t l_it / (N L_max)",
    ),
)

SPECS = (*NAMED, *ADVANTAGES, *ROWS_AND_TOKENS, *OBJECTIVES, *LOSSES)
"""Every algorithm and part of core."""
