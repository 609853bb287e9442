"""Algorithms and parts that look at lengths, references, single tokens or the steps before."""

from __future__ import annotations

from grpokit.api import AlgorithmSpec
from grpokit.builtins.named import GRPO_PARTS

__all__ = ["NAMED", "SPECS"]

_HOME = "grpokit.algorithms."
_NAMED = _HOME + "further:"
_NEEDS = frozenset({"logprobs", "custom-loss"})
_LONG = "grpokit.algorithms.prolonged:"
_OWN_LOG_PROBS = tuple(
    (name, "it takes the log-probs themselves, so the ratio would have no effect")
    for name in ("sequence-ratio", "sequence-token-ratio", "sequence-product")
)


def _parts(**other: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """GRPO's parts with others in their place."""
    return tuple({**GRPO_PARTS, **{axis: (name,) for axis, name in other.items()}}.items())


NAMED = (
    AlgorithmSpec(
        name="gfpo",
        min_group=4,
        summary="Many samples, of which only the best by length or reward a token teach.",
        target=_NAMED + "gfpo",
        config=_HOME + "lengthwise_config:GfpoConfig",
        needs=_NEEDS,
        paper="2508.09726",
        formula="A_i = (r_i - mean_S r) / std_S r for the k best S of the group, else 0",
        parts=_parts(advantage="group-filter", aggregation="token-mean"),
    ),
    AlgorithmSpec(
        name="ad-gfpo",
        min_group=4,
        summary="GFPO that keeps more completions of hard groups than of easy ones.",
        target=_NAMED + "ad_gfpo",
        config=_HOME + "lengthwise_config:AdGfpoConfig",
        needs=_NEEDS,
        paper="2508.09726",
        formula="GFPO with k by the quarter of the group's mean among those of the steps before",
        parts=_parts(advantage="adaptive-filter", aggregation="token-mean"),
    ),
    AlgorithmSpec(
        name="opo",
        min_group=2,
        summary="The group's mean weighted by length is the baseline: the one of least variance.",
        target=_NAMED + "opo",
        config=_HOME + "lengthwise_config:OpoConfig",
        needs=_NEEDS,
        paper="2505.23585",
        formula="A_i = r_i - sum_j L_j r_j / sum_j L_j",
        parts=_parts(advantage="length-weighted", aggregation="token-mean"),
    ),
    AlgorithmSpec(
        name="qrpo",
        summary="A regression of the policy's log-ratio to the reference on quantile rewards.",
        target=_NAMED + "qrpo",
        config=_HOME + "quantile_config:QrpoConfig",
        needs=_NEEDS | {"reference"},
        paper="2507.08068",
        formula="1/N sum_i (R_i - beta log Z - beta log(pi / pi_ref))^2",
        parts=_parts(
            advantage="quantile",
            select="scored",
            clip="regression",
            regulariser="no-regulariser",
        ),
    ),
    AlgorithmSpec(
        name="rest-em",
        summary="Fine-tunes the loaded model on right answers, again and again.",
        target=_NAMED + "rest_em",
        config=_HOME + "offline_config:RestEmConfig",
        needs=_NEEDS | {"reset"},
        paper="2312.06585",
        formula="-sum_it log pi / sum_i L_i over right completions, from the loaded model",
        parts=_parts(
            advantage="threshold",
            select="positive",
            clip="log-prob",
            regulariser="no-regulariser",
            aggregation="token-mean",
            reset="restart",
        ),
    ),
    AlgorithmSpec(
        name="openpipe",
        min_group=2,
        summary="OpenPipe's GRPO: last tokens and completions without advantage teach nothing.",
        target=_NAMED + "openpipe",
        config=_HOME + "further_config:OpenPipeConfig",
        needs=_NEEDS,
        formula="-1/N sum_i 1/L_i sum_{t < L_i} min(w A, clip(w) A) over rows with A != 0",
        parts=_parts(select="drop-zero", clip="spare-end"),
    ),
    AlgorithmSpec(
        name="prorl",
        min_group=2,
        summary="DAPO with a divergence; reference and optimiser begin anew when training stalls.",
        target=_LONG + "prorl",
        config=_HOME + "prolonged_config:ProrlConfig",
        needs=_NEEDS | {"reset"},
        paper="2505.24864",
        formula="-sum_it [min(w A, clip(w, 1-.2, 1+.4) A) - beta k3] / sum_i L_i where std r > 0",
        parts=_parts(allocate="dynamic-sampling", aggregation="token-mean", reset="prolong"),
    ),
    AlgorithmSpec(
        name="prorl-v2",
        min_group=2,
        summary="ProRL with REINFORCE++-baseline, IcePop's mask and totals shaped by length.",
        target=_LONG + "prorl_v2",
        config=_HOME + "prolonged_config:ProrlV2Config",
        needs=_NEEDS | {"reset"},
        formula="-sum_it [rho 1[.5 <= rho <= 5] min(w A, clip(w, 1-.2, 1+.27) A) - beta k2] / sum_i L_i",
        parts=tuple(
            {
                **dict(
                    _parts(
                        advantage="reinforce-baseline",
                        allocate="dynamic-sampling",
                        correction="mask-token",
                        aggregation="token-mean",
                        reset="prolong",
                    )
                ),
                "aggregate": ("cosine-length", "stop-properly"),
            }.items()
        ),
    ),
)

ROWS = (
    AlgorithmSpec(
        name="group-filter",
        axis="advantage",
        min_group=4,
        summary="Z-scores among the best k of a group by length or total a token (GFPO).",
        target=_HOME + "lengthwise:group_filter",
        config=_HOME + "lengthwise_config:FilterConfig",
        paper="2508.09726",
        formula="A_i = (r_i - mean_S r) / std_S r for i in S, else 0",
    ),
    AlgorithmSpec(
        name="adaptive-filter",
        axis="advantage",
        min_group=4,
        summary="The same with k by the group's difficulty among those of the steps before.",
        target=_HOME + "lengthwise:adaptive_filter",
        config=_HOME + "lengthwise_config:AdaptiveFilterConfig",
        paper="2508.09726",
        formula="k = share of the quarter in which mean r lies, times G",
    ),
    AlgorithmSpec(
        name="filtered-rows",
        axis="select",
        summary="Trains the k best of each group alone, with means over them alone.",
        target=_HOME + "lengthwise:filtered_rows",
        config=_HOME + "lengthwise_config:KeptConfig",
        paper="2508.09726",
        formula="rows = k smallest L_i, or largest r_i / L_i",
    ),
    AlgorithmSpec(
        name="length-weighted",
        axis="advantage",
        min_group=2,
        summary="Distance from the group's mean weighted by length (OPO).",
        target=_HOME + "lengthwise:length_weighted_baseline",
        paper="2505.23585",
        formula="A_i = r_i - sum_j L_j r_j / sum_j L_j",
    ),
    AlgorithmSpec(
        name="quantile",
        axis="advantage",
        summary="The share of reference rewards, or of the group's, that a reward reaches (QRPO).",
        target=_HOME + "quantile:quantile",
        config=_HOME + "quantile_config:QuantileConfig",
        paper="2507.08068",
        formula="R_i = mean_j 1[r_j <= r_i]",
    ),
    AlgorithmSpec(
        name="scored",
        axis="select",
        summary="Every completion that has a score.",
        target=_HOME + "quantile:scored",
        formula="rows = those for which not every reward abstained",
    ),
    AlgorithmSpec(
        name="threshold",
        axis="advantage",
        summary="1 for totals that reach a threshold, else 0 (ReST-EM).",
        target=_HOME + "offline:threshold",
        config=_HOME + "offline_config:ThresholdConfig",
        paper="2312.06585",
        formula="A_i = 1[r_i >= threshold]",
    ),
    AlgorithmSpec(
        name="positive",
        axis="select",
        summary="At most so many completions of each prompt that have a positive advantage.",
        target=_HOME + "offline:positive",
        config=_HOME + "offline_config:CapConfig",
        paper="2312.06585",
        formula="rows = the first cap of each group with A_i > 0",
    ),
)

TOKENS = (
    AlgorithmSpec(
        name="regression",
        axis="clip",
        summary="Squared distance of a reward from what the log-ratio to the reference says (QRPO).",
        target=_HOME + "quantile:regression",
        config=_HOME + "quantile_config:RegressionConfig",
        needs=frozenset({"reference"}),
        paper="2507.08068",
        formula="-(A - beta log Z - beta log(pi / pi_ref))^2",
        excludes=_OWN_LOG_PROBS,
    ),
    AlgorithmSpec(
        name="clip-cov",
        axis="clip",
        summary="Clipped ratio; a few tokens of high covariance, drawn by lot, lose their gradient.",
        target=_HOME + "token_clip:clip_cov",
        config=_HOME + "token_config:ClipCovConfig",
        paper="2505.22617",
        formula="0 on tokens drawn from low < cov < high, else min(w A, clip(w) A)",
    ),
    AlgorithmSpec(
        name="top-entropy",
        axis="clip",
        summary="Clipped ratio on the tokens of highest entropy alone.",
        target=_HOME + "token_clip:top_entropy",
        config=_HOME + "token_config:TopEntropyConfig",
        needs=frozenset({"entropy"}),
        paper="2506.01939",
        formula="min(w A, clip(w) A) where H_t >= quantile(H, 1 - share), else 0",
    ),
    AlgorithmSpec(
        name="spare-end",
        axis="clip",
        summary="Clipped ratio with advantage 0 at the last token of every completion (OpenPipe).",
        target=_HOME + "token_clip:spare_end",
        config=_HOME + "part_config:ClipConfig",
        formula="min(w A, clip(w) A) where t < L_i, else 0",
    ),
    AlgorithmSpec(
        name="last-token",
        axis="mask",
        summary="Only the last token of a completion counts.",
        target=_HOME + "token_mask:last_token",
        formula="1 where t = L_i",
    ),
    AlgorithmSpec(
        name="selective",
        axis="mask",
        summary="Without the token that a marker such as <think> leads to (AdaCoT).",
        target=_HOME + "token_mask:selective",
        config=_HOME + "token_config:SelectiveConfig",
        paper="2505.11896",
        formula="0 where the marker ends offset tokens before t",
    ),
    AlgorithmSpec(
        name="adaptive-entropy",
        axis="regulariser",
        summary="Entropy bonus whose weight grows while the entropy is below a target.",
        target=_HOME + "adaptive_entropy:adaptive_entropy",
        config=_HOME + "remember_config:AdaptiveEntropyConfig",
        needs=frozenset({"entropy"}),
        paper="2505.22312",
        formula="-c H where the last H <= target; c += delta there, else c -= delta",
    ),
)

RESETS = (
    AlgorithmSpec(
        name="prolong",
        axis="reset",
        summary="Reference becomes the policy and AdamW begins anew when training stalls (ProRL).",
        target=_HOME + "step_parts:prolong",
        config=_HOME + "remember_config:ProlongConfig",
        needs=frozenset({"reset"}),
        paper="2505.24864",
        formula="after n steps, or mean kl > bound, or n steps without a better reward",
    ),
    AlgorithmSpec(
        name="restart",
        axis="reset",
        summary="Policy and AdamW begin anew before every n-th update (ReST-EM).",
        target=_HOME + "step_parts:restart",
        config=_HOME + "offline_config:RestartConfig",
        needs=frozenset({"reset"}),
        paper="2312.06585",
        formula="before the updates of steps 1, 1 + n, 1 + 2n, ...",
    ),
)

SPECS = (*NAMED, *ROWS, *TOKENS, *RESETS)
"""Every algorithm and part of this module."""
