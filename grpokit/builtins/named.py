"""Named algorithms: what each is composed of."""

from __future__ import annotations

from grpokit.api import AlgorithmSpec

__all__ = ["NAMED"]

_RELATIVES = "grpokit.algorithms.relatives:"
_CONFIGS = "grpokit.algorithms.named_config:"
_NEEDS = frozenset({"logprobs", "custom-loss"})

GRPO_PARTS = {
    "aggregate": ("weighted-sum",),
    "advantage": ("group-zscore",),
    "select": ("keep-all",),
    "mask": ("completion-mask",),
    "ratio": ("token-ratio",),
    "clip": ("clip",),
    "correction": ("no-correction",),
    "regulariser": ("kl", "entropy-bonus"),
    "aggregation": ("sequence-mean",),
}


def _parts(**other: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """GRPO's parts with others in their place."""
    return tuple({**GRPO_PARTS, **{axis: (name,) for axis, name in other.items()}}.items())


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
)
"""Every named algorithm of core."""
