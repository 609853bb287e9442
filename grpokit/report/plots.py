"""Which names of ``metrics.jsonl`` make which picture."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ELSEWHERE", "FURTHER", "MAIN", "OTHERS", "Plot"]


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A picture and the names of ``metrics.jsonl`` in it; ``*`` stands for a part of a name."""

    title: str
    unit: str
    names: tuple[str, ...]
    smooth: bool = True
    note: str = ""


MAIN = (
    Plot(title="Each reward", unit="mean score, unweighted", names=("rewards/*/mean",)),
    Plot(title="Components of rewards", unit="mean", names=("components/*",)),
    Plot(title="Length of completions", unit="tokens", names=("length/mean",)),
    Plot(title="Truncated completions", unit="share", names=("truncated",)),
    Plot(title="Entropy", unit="nats a token", names=("entropy",)),
    Plot(
        title="KL divergence",
        unit="nats a token",
        names=("kl", "kl_old"),
        note="kl: from the reference; kl_old: from the policy of the rollout.",
    ),
    Plot(title="Clipped tokens", unit="share", names=("clip_low", "clip_high", "clip_delta")),
    Plot(title="Gradient norm", unit="before clipping", names=("grad_norm",)),
    Plot(title="Learning rate", unit="of the last optimiser step", names=("lr",), smooth=False),
    Plot(
        title="Completions that trained",
        unit="share",
        names=("trained_share",),
        note="The others had no signal, or were left out.",
    ),
    Plot(title="Groups left out by the allocation", unit="share", names=("dropped_groups",)),
    Plot(
        title="Completions in total",
        unit="since the first step",
        names=("total/completions_generated", "total/completions_trained"),
        smooth=False,
    ),
    Plot(
        title="Forward passes saved",
        unit="since the first step",
        names=("total/forwards_saved",),
        smooth=False,
        note="Policy, old and reference; of what did not train.",
    ),
)
FURTHER = (
    Plot(title="Spread of the reward", unit="standard deviation", names=("reward_std",)),
    Plot(title="Loss", unit="", names=("policy_loss", "loss")),
    Plot(title="Sampler against trainer", unit="nats a token", names=("sampler_gap",)),
    Plot(title="Tokens that the correction leaves out", unit="share", names=("rejected",)),
    Plot(title="Ratio of new to old policy", unit="mean", names=("ratio",)),
    Plot(title="Abstentions", unit="share", names=("abstained",)),
    Plot(title="Failures of rewards", unit="a step", names=("failures",), smooth=False),
    Plot(title="Rounds", unit="a step", names=("rounds",), smooth=False),
    Plot(title="Questions", unit="a step", names=("questions",), smooth=False),
    Plot(title="Age of the weights that drew", unit="steps", names=("staleness",), smooth=False),
    Plot(title="Skipped optimiser steps", unit="a step", names=("skipped_steps",), smooth=False),
)
ELSEWHERE = (
    "reward",
    "dead_groups*",
    "length/*",
    "rewards/*/std",
    "trained_rows",
    "tokens",
    "epoch",
    "total/questions_seen",
    "total/optimizer_steps",
    "optimizer_steps",
    "completions",
    "failed",
)
"""Names that are in another picture, or say little as a curve."""
OTHERS = 40
"""Pictures of names that only an algorithm knows."""
