"""Named algorithms: what each is composed of."""

from __future__ import annotations

from grpokit.api import AlgorithmSpec

__all__ = ["NAMED"]

_RELATIVES = "grpokit.algorithms.relatives:"
_OBJECTIVES = "grpokit.algorithms.objectives:"
_BASELINES = "grpokit.algorithms.baselines:"
_CONFIGS = "grpokit.algorithms.named_config:"
_NEEDS = frozenset({"logprobs", "custom-loss"})

GRPO_PARTS = {
    "sampler": ("in-order",),
    "rollout": ("as-given",),
    "aggregate": ("weighted-sum",),
    "advantage": ("group-zscore",),
    "allocate": ("fixed",),
    "select": ("keep-all",),
    "mask": ("completion-mask",),
    "ratio": ("token-ratio",),
    "clip": ("clip",),
    "correction": ("no-correction",),
    "regulariser": ("kl", "entropy-bonus"),
    "aggregation": ("sequence-mean",),
    "reset": ("never",),
}


def _parts(**other: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """GRPO's parts with others in their place."""
    return tuple({**GRPO_PARTS, **{axis: (name,) for axis, name in other.items()}}.items())


def _named(
    name: str, summary: str, *, paper: str, formula: str, target: str, config: str, **other: str
) -> AlgorithmSpec:
    return AlgorithmSpec(
        name=name,
        min_group=2,
        summary=summary,
        target=target,
        config=_CONFIGS + config,
        needs=_NEEDS,
        paper=paper,
        formula=formula,
        parts=_parts(**other),
    )


NAMED = (
    AlgorithmSpec(
        name="grpo",
        min_group=2,
        summary="Group relative policy optimisation: the group is the baseline, the ratio is clipped.",
        target="grpokit.algorithms.grpo:build",
        config="grpokit.algorithms.grpo_config:GrpoConfig",
        needs=_NEEDS,
        paper="2402.03300",
        formula="-1/G sum_i 1/L_i sum_t [min(w A, clip(w, 1-eps, 1+eps) A) - beta k3]",
        parts=_parts(),
    ),
    AlgorithmSpec(
        name="dr-grpo",
        min_group=2,
        summary="GRPO without the biases: advantages unscaled, no division by a completion's length.",
        target=_RELATIVES + "dr_grpo",
        config=_CONFIGS + "DrGrpoConfig",
        needs=_NEEDS,
        paper="2503.20783",
        formula="-sum_i sum_t min(w A, clip(w) A) / (N L_max), A_i = r_i - mean r",
        parts=_parts(advantage="group-centred", aggregation="constant-length"),
    ),
    AlgorithmSpec(
        name="bnpo-trl",
        min_group=2,
        summary="TRL's loss_type bnpo: token mean of each micro-batch; not the BNPO of 2506.02864.",
        target=_RELATIVES + "bnpo_trl",
        config=_CONFIGS + "BnpoTrlConfig",
        needs=_NEEDS,
        formula="per micro-batch: -sum_it min(w A, clip(w) A) / sum_i L_i",
        parts=_parts(aggregation="token-mean-local"),
    ),
    AlgorithmSpec(
        name="gspo",
        min_group=2,
        summary="Group sequence policy optimisation: ratio and clip a completion, not a token.",
        target=_RELATIVES + "gspo",
        config=_CONFIGS + "GspoConfig",
        needs=_NEEDS,
        paper="2507.18071",
        formula="-1/N sum_i min(s_i A_i, clip(s_i) A_i), s_i = exp(1/L_i sum_t log w_it)",
        parts=_parts(ratio="sequence-ratio"),
    ),
    _named(
        "gspo-token",
        "GSPO in token form: the same gradient, and room for advantages a token.",
        paper="2507.18071",
        formula="s_it = sg[s_i] pi_it / sg[pi_it]",
        target=_RELATIVES + "gspo_token",
        config="GspoTokenConfig",
        ratio="sequence-token-ratio",
    ),
    _named(
        "luspo",
        "GSPO in which a completion weighs as much as it is long.",
        paper="2602.05261",
        formula="-1/N sum_i L_i min(s_i A_i, clip(s_i) A_i)",
        target=_RELATIVES + "luspo",
        config="LuspoConfig",
        ratio="sequence-ratio",
        aggregation="sequence-sum",
    ),
    _named(
        "cispo",
        "The ratio is a bounded, detached weight; every token keeps a gradient.",
        paper="2506.13585",
        formula="-sum_it sg[min(w, cap)] A log pi / sum_i L_i",
        target=_OBJECTIVES + "cispo",
        config="NamedCispoConfig",
        clip="cispo-weight",
        aggregation="token-mean",
    ),
    _named(
        "sapo",
        "A soft gate in place of the clip, sharper for negative advantages.",
        paper="2511.20347",
        formula="-1/G sum_i 1/L_i sum_t 4/t sigmoid(t (w - 1)) A",
        target=_OBJECTIVES + "sapo",
        config="NamedSapoConfig",
        clip="sapo-gate",
    ),
    _named(
        "gmpo",
        "The geometric mean of clipped token ratios: outliers weigh less.",
        paper="2507.20673",
        formula="-1/G sum_i A exp(1/L_i sum_t clip(log w))",
        target=_OBJECTIVES + "gmpo",
        config="NamedGmpoConfig",
        clip="gmpo-clip",
    ),
    _named(
        "vespo",
        "REINFORCE weighted by a gamma shape of the completion's ratio.",
        paper="2602.10693",
        formula="-sum_it sg[phi(W)] A log pi / sum_i L_i, phi(W) = e^l W^k e^(-l W)",
        target=_OBJECTIVES + "vespo",
        config="NamedVespoConfig",
        clip="vespo-weight",
        aggregation="token-mean",
    ),
    _named(
        "rloo",
        "The mean of the group's other completions is the baseline.",
        paper="2402.14740",
        formula="A_i = G/(G-1) (r_i - mean r)",
        target=_BASELINES + "rloo",
        config="RlooConfig",
        advantage="rloo-baseline",
    ),
    _named(
        "reinforce-pp-baseline",
        "REINFORCE++ with the group's mean as baseline, whitened over the batch.",
        paper="2501.03262",
        formula="A_i = (r_i - mean_group r) / sqrt(var_batch + eps)",
        target=_BASELINES + "reinforce_pp",
        config="ReinforceConfig",
        advantage="reinforce-baseline",
        aggregation="token-mean",
    ),
    _named(
        "lite-ppo",
        "The group's mean, the batch's deviation, the token mean, and nothing else.",
        paper="2508.08221",
        formula="A_i = (r_i - mean_group r) / (std_batch r + eps)",
        target=_BASELINES + "lite_ppo",
        config="LitePpoConfig",
        advantage="batch-std",
        aggregation="token-mean",
    ),
    _named(
        "gpg",
        "A plain policy gradient with the group's mean as baseline: no ratio, no clip.",
        paper="2504.02546",
        formula="-N/M sum_it A log pi / sum_i L_i, A_i = r_i - mean r",
        target=_BASELINES + "gpg",
        config="GpgConfig",
        advantage="gpg-scale",
        clip="log-prob",
        aggregation="token-mean",
    ),
    _named(
        "bnpo",
        "BNPO of the paper: advantages by a Beta density that is fitted to the batch.",
        paper="2506.02864",
        formula="A_i = (r_i - p) / Beta(p; alpha, beta), p = mean r",
        target=_BASELINES + "bnpo",
        config="BnpoConfig",
        advantage="beta-normalised",
    ),
)
"""Every named algorithm of core."""
