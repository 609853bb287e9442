"""Parts of the axes ``advantage``, ``aggregate`` and ``select``, beside those of GRPO."""

from __future__ import annotations

from grpokit.api import AlgorithmSpec

__all__ = ["SPECS"]

_PARTS = "grpokit.algorithms.advantage_parts:"
_CONFIGS = "grpokit.algorithms.advantage_config:"

ADVANTAGES = (
    AlgorithmSpec(
        name="batch-std",
        axis="advantage",
        min_group=2,
        summary="Distance from the group's mean in standard deviations of the batch (Lite PPO).",
        target=_PARTS + "batch_std",
        config=_CONFIGS + "BatchStdConfig",
        paper="2508.08221",
        formula="A_i = (r_i - mean_group r) / (std_batch r + eps)",
    ),
    AlgorithmSpec(
        name="rloo-baseline",
        axis="advantage",
        min_group=2,
        summary="Distance from the mean of the group's other completions (RLOO).",
        target=_PARTS + "rloo_baseline",
        paper="2402.14740",
        formula="A_i = G/(G-1) (r_i - mean r)",
    ),
    AlgorithmSpec(
        name="reinforce-baseline",
        axis="advantage",
        min_group=2,
        summary="Distance from the group's mean, whitened over the batch (REINFORCE++-baseline).",
        target=_PARTS + "reinforce_baseline",
        config=_CONFIGS + "WhitenConfig",
        paper="2501.03262",
        formula="A_i = (r_i - mean_group r) / sqrt(var_batch + eps)",
    ),
    AlgorithmSpec(
        name="beta-normalised",
        axis="advantage",
        min_group=2,
        summary="Distance from the group's mean by a Beta density, fitted to the batch (BNPO paper).",
        target=_PARTS + "beta_normalised",
        config=_CONFIGS + "BetaConfig",
        paper="2506.02864",
        formula="A_i = (r_i - p) / Beta(p; alpha, beta), p = mean r",
        excludes=(
            ("normalise-then-sum", "it needs totals between two bounds, z-scores have none"),
        ),
    ),
    AlgorithmSpec(
        name="pass-at-k",
        axis="advantage",
        min_group=2,
        summary="Only the group's best gets a signal: its lead over the second.",
        target=_PARTS + "pass_at_k",
        config=_CONFIGS + "PassAtKConfig",
        paper="2503.19595",
        formula="A_best = (r_best - r_second) / (std r + eps), others 0",
    ),
)

SCORES_AND_ROWS = (
    AlgorithmSpec(
        name="normalise-then-sum",
        axis="aggregate",
        min_group=2,
        summary="Each reward as a z-score in its group, then the weighted sum (GDPO).",
        target=_PARTS + "normalise_then_sum",
        config=_CONFIGS + "NormaliseConfig",
        paper="2601.05242",
        formula="r_i = sum_k weight_k (r_ik - mean_k) / (std_k + eps)",
    ),
    AlgorithmSpec(
        name="power",
        axis="aggregate",
        summary="The weighted sum raised to a power: the last steps to a full score count most.",
        target=_PARTS + "power",
        config=_CONFIGS + "PowerConfig",
        formula="r = sign(s) |s|^exponent, s = sum_k weight_k r_k",
    ),
    AlgorithmSpec(
        name="top-k",
        axis="select",
        summary="The best k of each group by length or reward a token train (after GFPO).",
        target=_PARTS + "top_k",
        config=_CONFIGS + "TopKConfig",
        paper="2508.09726",
        formula="weight_i = 1 if i among the k smallest L_i, or largest r_i / L_i, else 0",
    ),
)

SPECS = (*ADVANTAGES, *SCORES_AND_ROWS)
"""Every part of these axes that GRPO itself does not use."""
