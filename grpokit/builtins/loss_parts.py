"""Parts of the loss beyond GRPO's own, as core registers them."""

from __future__ import annotations

from grpokit.api import AlgorithmSpec

__all__ = ["SPECS"]

_PARTS = "grpokit.algorithms.loss_parts:"
_CONFIGS = "grpokit.algorithms.loss_config:"

OBJECTIVES = (
    AlgorithmSpec(
        name="sequence-token-ratio",
        axis="ratio",
        summary="The sequence's ratio in value, each token's own in gradient (GSPO-token).",
        target=_PARTS + "sequence_token_ratio",
        config=_CONFIGS + "BoundsConfig",
        paper="2507.18071",
        formula="s_it = sg[s_i] w_it / sg[w_it]",
    ),
    AlgorithmSpec(
        name="sequence-product",
        axis="ratio",
        summary="One ratio a completion: the product of its tokens' (TRL's RLOO).",
        target=_PARTS + "sequence_product",
        config=_CONFIGS + "BoundsConfig",
        paper="2402.14740",
        formula="W_i = prod_t w_it",
        excludes=(
            (
                "constant-length",
                "a ratio of the whole completion would count once for each of its tokens",
            ),
        ),
    ),
    AlgorithmSpec(
        name="log-prob",
        axis="clip",
        summary="REINFORCE: no ratio and no clip (GPG).",
        target="grpokit.algorithms.gpg:log_prob",
        paper="2504.02546",
        formula="A log pi",
    ),
    AlgorithmSpec(
        name="gpg-scale",
        axis="advantage",
        min_group=2,
        summary="Distance from the group's mean, scaled up for completions that teach nothing (GPG).",
        target="grpokit.algorithms.gpg:gpg_scale",
        config=_CONFIGS + "GpgScaleConfig",
        paper="2504.02546",
        formula="A_i = N / M (r_i - mean r), M completions that count",
    ),
    AlgorithmSpec(
        name="dual-clip",
        axis="clip",
        summary="Clipped ratio with a floor of the objective for negative advantages.",
        target=_PARTS + "dual_clip",
        config=_CONFIGS + "DualClipConfig",
        paper="1912.09729",
        formula="max(min(w A, clip(w) A), floor A) if A < 0, else min(w A, clip(w) A)",
    ),
    AlgorithmSpec(
        name="clip-off-policy",
        axis="clip",
        summary="Clipped ratio, without bad completions that the policy has left (DeepSeek-V3.2).",
        target=_PARTS + "clip_off_policy",
        config=_CONFIGS + "OffPolicyConfig",
        paper="2512.02556",
        formula="min(w A, clip(w) A) if A >= 0 or mean_t(log pi_sampler - log pi) <= threshold, else 0",
    ),
    AlgorithmSpec(
        name="cispo-weight",
        axis="clip",
        summary="REINFORCE weighted by the clipped, detached ratio: no token loses its gradient.",
        target=_PARTS + "cispo",
        config=_CONFIGS + "CispoConfig",
        paper="2506.13585",
        formula="sg[clip(w, floor, cap)] A log pi",
    ),
    AlgorithmSpec(
        name="sapo-gate",
        axis="clip",
        summary="A soft gate instead of a clip, sharper for negative advantages.",
        target=_PARTS + "sapo",
        config=_CONFIGS + "SapoConfig",
        paper="2511.20347",
        formula="4/t sigmoid(t (w - 1)) A, t by the sign of A",
    ),
    AlgorithmSpec(
        name="gmpo-clip",
        axis="clip",
        summary="Geometric mean of the tokens' ratios, each clipped before; for sequence-mean.",
        target=_PARTS + "gmpo",
        config=_CONFIGS + "GmpoConfig",
        paper="2507.20673",
        formula="A exp(mean_t c_t), c_t = log w_t clipped to [-low, high] on the side of A",
        excludes=tuple(
            (name, "it takes the log-probs themselves, so the ratio would have no effect")
            for name in ("sequence-ratio", "sequence-token-ratio", "sequence-product")
        ),
    ),
    AlgorithmSpec(
        name="kl-cov",
        axis="clip",
        summary="No clip; a penalty on the few tokens that cost the policy most of its entropy.",
        target=_PARTS + "kl_cov",
        config=_CONFIGS + "KlCovConfig",
        paper="2505.22617",
        formula="w A - coefficient |log w| on the tokens of largest covariance, else w A",
    ),
    AlgorithmSpec(
        name="vespo-weight",
        axis="clip",
        summary="REINFORCE weighted by a gamma shape of the whole completion's ratio, as in TRL.",
        target=_PARTS + "vespo",
        config=_CONFIGS + "VespoConfig",
        paper="2602.10693",
        formula="sg[e^lambda W^k e^(-lambda W)] A log pi, W = prod_t w_t",
    ),
)

CORRECTIONS = (
    AlgorithmSpec(
        name="truncate-sequence",
        axis="correction",
        summary="Truncated importance weight of the whole completion.",
        target=_PARTS + "truncate_sequence",
        config=_CONFIGS + "WeightConfig",
        formula="clip(prod_t pi_old / pi_sampler, floor, cap)",
    ),
    AlgorithmSpec(
        name="mask-token",
        axis="correction",
        summary="Importance weight a token, 0 outside its bounds (IcePop).",
        target=_PARTS + "mask_token",
        config=_CONFIGS + "RejectConfig",
        formula="rho 1[floor <= rho <= cap], rho = pi_old / pi_sampler",
    ),
    AlgorithmSpec(
        name="mask-sequence",
        axis="correction",
        summary="Importance weight of the whole completion, 0 outside its bounds (MIS).",
        target=_PARTS + "mask_sequence",
        config=_CONFIGS + "RejectConfig",
        formula="rho 1[floor <= rho <= cap], rho = prod_t pi_old / pi_sampler",
    ),
)

AGGREGATIONS = (
    AlgorithmSpec(
        name="sequence-sum",
        axis="aggregation",
        summary="Mean over completions of the sum over their tokens (LUSPO, with sequence-ratio).",
        target=_PARTS + "sequence_sum",
        paper="2602.05261",
        formula="1/N sum_i sum_t l_it",
    ),
)

SPECS = (*OBJECTIVES, *CORRECTIONS, *AGGREGATIONS)
"""Every part of the loss that GRPO itself does not use."""
